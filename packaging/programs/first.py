"""Three messages from an installed package."""

import os

import durstream
from durstream import DurableStream, IdempotentProducer

stream = DurableStream.create(
    stream_path=os.environ["FIRST_STREAM_PATH"], content_type="application/json"
)
with IdempotentProducer(stream, "first") as producer:
    for n in range(1, 4):
        producer.append({"n": n})
print(durstream.__version__)
