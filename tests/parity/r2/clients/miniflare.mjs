// Miniflare's simulator of R2's S3 endpoint, whose answers were captured from a real bucket.
import { Miniflare } from "miniflare";

const miniflare = new Miniflare({
  modules: true,
  script: "export default { fetch() { return new Response(null, { status: 404 }); } };",
  compatibilityDate: "2026-01-01",
  port: 0,
  r2Buckets: {
    BUCKET: {
      id: process.env.BUCKET,
      s3Credentials: { accessKeyId: process.env.R2_KEY, secretAccessKey: process.env.R2_SECRET },
    },
  },
});
console.log(String(await miniflare.ready));
process.stdin.resume();
process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit(0);
});
