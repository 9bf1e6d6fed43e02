// The README's upload and download with the SDK of another language; prints what it observed as JSON.
import {
  CompleteMultipartUploadCommand, CreateMultipartUploadCommand, GetObjectCommand, HeadObjectCommand,
  ListObjectsV2Command, PutObjectCommand, S3Client, UploadPartCommand,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = process.env.BUCKET;
const options = {
  region: "auto",
  endpoint: process.env.R2_URL,
  forcePathStyle: true,
  credentials: { accessKeyId: process.env.R2_KEY, secretAccessKey: process.env.R2_SECRET },
  maxAttempts: 1,
};
const s3 = new S3Client({
  ...options, requestChecksumCalculation: "WHEN_REQUIRED", responseChecksumValidation: "WHEN_REQUIRED",
});
const seen = {};

const video = Buffer.alloc(300_000, "v");
const type = "video/mp4";
const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "js/source.mp4", ContentType: type }), {
  expiresIn: 600,
  signableHeaders: new Set(["content-type"]),
});
seen.upload = (await fetch(put, { method: "PUT", body: video, headers: { "content-type": type } })).status;
seen.otherType = (await fetch(put, { method: "PUT", body: video, headers: { "content-type": "text/html" } })).status;

// What the presigner does by default: it signs the CRC32 of a body that it has not seen.
const unset = new S3Client({ ...options, requestChecksumCalculation: "WHEN_SUPPORTED" });
const presigned = await getSignedUrl(unset, new PutObjectCommand({ Bucket, Key: "js/default" }), { expiresIn: 600 });
const refused = await fetch(presigned, { method: "PUT", body: video });
seen.defaultPresigner = [refused.status, (await refused.text()).match(/<Code>(.*)<\/Code>/)?.[1]];

const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "js/source.mp4" }), { expiresIn: 600 });
const answer = await fetch(get);
seen.download = [answer.status, answer.headers.get("content-type"), Buffer.from(await answer.arrayBuffer()).equals(video)];

const begun = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: "js/parts.mp4", ContentType: type }));
const Parts = [];
for (const [index, size] of [5 << 20, 5 << 20, 10].entries()) {
  const part = { Bucket, Key: "js/parts.mp4", UploadId: begun.UploadId, PartNumber: index + 1 };
  const url = await getSignedUrl(s3, new UploadPartCommand(part), { expiresIn: 600 });
  const sent = await fetch(url, { method: "PUT", body: Buffer.alloc(size, "p") });
  Parts.push({ PartNumber: index + 1, ETag: sent.headers.get("etag") });
}
await s3.send(new CompleteMultipartUploadCommand({
  Bucket, Key: "js/parts.mp4", UploadId: begun.UploadId, MultipartUpload: { Parts },
}));
seen.parts = (await s3.send(new HeadObjectCommand({ Bucket, Key: "js/parts.mp4" }))).ContentLength;
seen.keys = (await s3.send(new ListObjectsV2Command({ Bucket, Prefix: "js/" }))).Contents.map((found) => found.Key);
try {
  await s3.send(new PutObjectCommand({ Bucket, Key: "js/source.mp4", Body: "x", IfNoneMatch: "*" }));
} catch (error) {
  seen.createAgain = [error.$metadata.httpStatusCode, error.name];
}
console.log(JSON.stringify(seen));
process.exit(0);
