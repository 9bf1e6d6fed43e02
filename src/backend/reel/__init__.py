"""Video work shared by the Machine and the GPU functions: payloads, ffmpeg, probing. No FastAPI, no boto3."""
