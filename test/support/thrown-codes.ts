import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sqlFiles } from './sql-files.ts';

// Which error codes the worker can write, by its sources: each `new PermanentError('code', …)` and its sisters, each
// statement that sets error_code, in TypeScript and in SQL. A code that is put together is found by what its file is
// made of: see `builders`.

const root = join(import.meta.dirname, '../../worker');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));

/** By the code of an error class of ours that is no plain string, as it stands: the codes that it can be. */
const builders: Record<string, () => string[]> = {
  // One code for each service and each way to fail.
  'base/http/fetch.ts: `${service.code}_refused`': ofServices,
  'base/http/fetch.ts: `${code}_too_large`': ofServices,
  'base/http/fetch.ts: `${code}_truncated`': ofServices,
  'base/http/fetch.ts: `${code}_timeout`': ofServices,
  'base/http/fetch.ts: `${code}_not_found`': ofServices,
  'base/http/fetch.ts: `${code}_rate_limited`': ofServices,
  'base/http/fetch.ts: `${code}_refused`': ofServices,
  'base/http/fetch.ts: `${code}_unavailable`': ofServices,
  'base/http/fetch.ts: code': ofServices,
  'base/http/request.ts: `${service.code}_timeout`': ofServices,
  // The codes that S3's are judged to be.
  'base/storage/s3-errors.ts: code': () =>
    wordsOf(/type StorageErrorCode =([^;]+);/.exec(read('base/storage/s3-errors.ts'))![1]!),
  // What storage said of a key that it did not delete.
  'base/storage/check.ts: failure.error_code': () => [],
  'media/ffmpeg/source.ts: `no_${kind}_stream`': () => ['video', 'audio'].map((kind) => `no_${kind}_stream`),
  // Why a platform does not take a post.
  'providers/social/errors.ts: code': () =>
    wordsOf(/type SocialErrorCode =([^;]+);/.exec(read('providers/social/errors.ts'))![1]!),
  // What the thread said, which throws errors of our own, too.
  'media/image/heif/heic.ts: outcome.code': () =>
    Array.from(read('media/image/heif/heic-thread.ts').matchAll(/\bcode: '(\w+)'/g), ([, code]) => code!),
};

/** @throws Error for a code that is put together in a way that nobody has written down above */
export function thrownCodes(): Set<string> {
  const codes = new Set<string>();
  const unused = new Set(Object.keys(builders));
  for (const path of paths) {
    const source = read(path);
    if (/extends (Permanent|Retryable|Deployment)Error/.test(source)) throw new Error(`${path}: a class of its own`);
    for (const code of codesIn(source)) {
      const plain = /^'(\w+)'$/.exec(code)?.[1];
      const built = `${path}: ${code}`;
      if (!plain && !builders[built])
        throw new Error(`test/support/thrown-codes.ts does not know the codes of ${built}`);
      unused.delete(built);
      for (const each of plain ? [plain] : builders[built]!()) codes.add(each);
    }
    for (const [statement] of source.matchAll(/\berror_code(?::|\] =)[^;}]*/g))
      for (const code of wordsOf(statement)) codes.add(code);
  }
  for (const { text } of sqlFiles('worker', 'migrations'))
    for (const [, code] of text.matchAll(/(?<![\w.])(?:new\.)?error_code\s*:?=\s*(?:case when [^']+ then )?'(\w+)'/g))
      codes.add(code!);
  if (unused.size > 0)
    throw new Error(`test/support/thrown-codes.ts has what is not in worker/: ${[...unused].join(', ')}`);
  return codes;
}

/** Of each error that a file makes, what stands where its code does. */
function codesIn(source: string): string[] {
  const made = source.matchAll(/\bnew (Permanent|Retryable|Deployment)Error\(/g);
  return Array.from(
    made,
    ({ 0: text, 1: name, index }) => argumentsAt(source, index + text.length)[name === 'Deployment' ? 1 : 0]!,
  );
}

/** The arguments of a call, from behind its parenthesis to the one that closes it. */
function argumentsAt(source: string, from: number): string[] {
  const parts = [''];
  const ends: string[] = [];
  for (const [token] of source.slice(from).matchAll(/'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|[^]/g)) {
    if (token === ')' && ends.length === 0) break;
    if (token === ',' && ends.length === 0) parts.push('');
    else parts.push(parts.pop() + token);
    if ('([{'.includes(token)) ends.push(token);
    if (')]}'.includes(token)) ends.pop();
  }
  return parts.map((part) => part.trim());
}

/** The codes that stand in a piece of source as plain strings: words of lower case with at least one underscore. */
const wordsOf = (text: string) => Array.from(text.matchAll(/'([a-z]+(?:_[a-z\d]+)+)'/g), ([, word]) => word!);

/** What base/http/fetch.ts makes of the answers of each service that worker/providers/ asks. */
function ofServices(): string[] {
  const services = paths
    .filter((path) => path.startsWith('providers/'))
    .flatMap((path) => Array.from(read(path).matchAll(/^ {2}code: '(\w+)',$/gm), ([, code]) => code!));
  const words = Array.from(
    read('base/http/fetch.ts').matchAll(/\$\{(?:service\.)?code\}_(\w+)`/g),
    ([, word]) => word!,
  );
  return services.flatMap((service) => words.map((word) => `${service}_${word}`));
}
