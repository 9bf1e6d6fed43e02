// Command client uses the transfer manager of the AWS SDK for Go and prints what it saw as JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func code(err error) string {
	var found smithy.APIError
	if errors.As(err, &found) {
		return found.ErrorCode()
	}
	return fmt.Sprint(err)
}

func client(checksums aws.RequestChecksumCalculation) *s3.Client {
	return s3.New(s3.Options{
		Region:                     "auto",
		BaseEndpoint:               aws.String(os.Getenv("R2_URL")),
		UsePathStyle:               true,
		Credentials:                credentials.NewStaticCredentialsProvider(os.Getenv("R2_KEY"), os.Getenv("R2_SECRET"), ""),
		RequestChecksumCalculation: checksums,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		RetryMaxAttempts:           1,
	})
}

func main() {
	ctx, bucket := context.Background(), aws.String(os.Getenv("BUCKET"))
	seen := map[string]any{}
	large := bytes.Repeat([]byte("0123456789abcdef"), 12<<16)
	c := client(aws.RequestChecksumCalculationWhenRequired)

	// A reader that cannot seek: the manager buffers parts of equal size.
	// It asks for checksums of its own unless it is told not to, whatever its client does.
	uploader := manager.NewUploader(c, func(u *manager.Uploader) {
		u.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})
	up, err := uploader.Upload(ctx, &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("go/large"), Body: io.MultiReader(bytes.NewReader(large)),
	})
	must(err)
	seen["parts"] = len(up.CompletedParts)
	buffer := manager.NewWriteAtBuffer(nil)
	_, err = manager.NewDownloader(c).Download(ctx, buffer, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("go/large")})
	must(err)
	seen["same"] = bytes.Equal(buffer.Bytes(), large)

	_, err = c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("go/large"), Body: bytes.NewReader(nil), IfNoneMatch: aws.String("*"),
	})
	seen["create again"] = code(err)
	// Few bytes: while Go still sends, it may close the connection before it has read a response that came early.
	few := large[:1000]
	_, err = client(aws.RequestChecksumCalculationWhenSupported).PutObject(ctx, &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("go/default"), Body: io.MultiReader(bytes.NewReader(few)),
		ContentLength: aws.Int64(int64(len(few))),
	})
	seen["default checksums"] = code(err)

	signed, err := s3.NewPresignClient(c).PresignPutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("go/signed")})
	must(err)
	request, err := http.NewRequest(signed.Method, signed.URL, bytes.NewReader([]byte("hello")))
	must(err)
	answer, err := http.DefaultClient.Do(request)
	must(err)
	seen["presigned"] = answer.StatusCode
	must(json.NewEncoder(os.Stdout).Encode(seen))
}
