// aws4fetch, which Cloudflare's own documents use; prints what it observed as JSON.
import { AwsClient } from "aws4fetch";

const aws = new AwsClient({
  accessKeyId: process.env.R2_KEY, secretAccessKey: process.env.R2_SECRET, service: "s3", region: "auto", retries: 0,
});
const bucket = `${process.env.R2_URL}/${process.env.BUCKET}`;
const url = `${bucket}/aws4fetch/${encodeURIComponent("a b+ü.bin")}`;
const body = Buffer.alloc(300_000, "v");
const seen = {};

seen.put = (await aws.fetch(url, { method: "PUT", body })).status;
seen.same = Buffer.from(await (await aws.fetch(url)).arrayBuffer()).equals(body);
seen.createAgain = (await aws.fetch(url, { method: "PUT", body, headers: { "If-None-Match": "*" } })).status;

const signed = await aws.sign(`${bucket}/aws4fetch/signed?X-Amz-Expires=600`, { method: "PUT", aws: { signQuery: true } });
seen.presigned = (await fetch(signed.url, { method: "PUT", body })).status;
seen.presignedOtherVerb = (await fetch(signed.url)).status;

const list = await (await aws.fetch(`${bucket}?list-type=2&prefix=aws4fetch/`)).text();
seen.listed = [...list.matchAll(/<Key>(.*?)<\/Key>/g)].map((found) => found[1]);
seen.deleted = (await aws.fetch(url, { method: "DELETE" })).status;
console.log(JSON.stringify(seen));
process.exit(0);
