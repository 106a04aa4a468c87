import { Transform, type Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';

/** For an error: its code and message are at the beginning. */
const errorBytes = 65_536;
/** For a list of a thousand keys, or of what became of them: a key is at most 1 kB. */
const answerBytes = 16_000_000;

/**
 * The SDK reads the whole XML of an answer, however long it is: so it is cut off. The bytes of objects are streamed and
 * have no bound.
 */
export function boundAnswers(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const result = await next(args);
      const response = result.response as { statusCode: number; body?: Readable };
      const failed = response.statusCode >= 300;
      if (response.body && (failed || context['commandName'] !== 'GetObjectCommand'))
        response.body = bounded(response.body, failed ? errorBytes : answerBytes);
      return result;
    },
    { step: 'deserialize', priority: 'low' }, // before the SDK reads it
  );
}

/** The first bytes of a body; then the body and its connection are closed. */
function bounded(body: Readable, maxBytes: number): Readable {
  let left = maxBytes;
  const out = new Transform({
    transform(chunk: Buffer, _, done) {
      const kept = chunk.subarray(0, left);
      left -= kept.length;
      if (left === 0) {
        this.push(kept);
        this.push(null);
        body.destroy();
        done();
      } else done(null, kept);
    },
  });
  body.once('error', (error) => out.destroy(error));
  return body.pipe(out);
}
