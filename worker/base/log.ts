import { pino, type Bindings, type ChildLoggerOptions, type Logger } from 'pino';
import type { Config } from './config/config.ts';
import { codeOf, messageOf } from './errors.ts';
import { openLogFiles } from './log-files.ts';
import { stackOf, topOf } from './stack.ts';

export type Log = Logger;

/**
 * One JSON line per event: `{"level", "timestamp", "context": {...}, "message"}`. The message is constant; fields of
 * the context have the names of the columns; `log.child` binds the identity once. Payloads, addresses and tokens are
 * never passed in, and configured secrets are cut out of error messages. `at` says where in the code an error arose.
 *
 * Lines go to `destination`, else to standard output, and with LOG_DIR to files.
 */
export function createLog(
  config: Pick<Config, 'logLevel' | 'secrets'> & Partial<Pick<Config, 'logDir'>>,
  destination?: NodeJS.WritableStream,
): Log {
  const options = {
    level: config.logLevel,
    base: null,
    messageKey: 'message',
    nestedKey: 'context',
    timestamp: () => `,"timestamp":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: serializersFor(redactor(config.secrets)),
    mixin: (_: object, __: number, log: Logger) => bound.get(log) ?? {},
    mixinMergeStrategy: (given: object, ofLog: object) => ({ ...ofLog, ...given }),
  };
  if (!config.logDir) return bindInContext(destination ? pino(options, destination) : pino(options));
  const streams = [{ level: config.logLevel as pino.Level, stream: destination ?? pino.destination(1) }];
  return bindInContext(
    pino(options, pino.multistream([...streams, ...openLogFiles(config.logDir, config.logLevel as pino.Level)])),
  );
}

const bound = new WeakMap<object, object>();

/** pino writes what a child binds beside the context. Here it is part of the context. */
function bindInContext(log: Log): Log {
  type Child = (this: Log, bindings: Bindings, options?: ChildLoggerOptions) => Log;
  const child = log.child as unknown as Child;
  const bind: Child = function (bindings, options) {
    const made = child.call(this, {}, options);
    bound.set(made, { ...bound.get(this), ...bindings });
    return made;
  };
  return Object.assign(log, { child: bind });
}

/** How errors get into a line: with their messages cut by `redact`. */
export const serializersFor = (redact: (text: string) => string) => ({
  err: (error: unknown) => ({
    code: codeOf(error),
    message: redact(messageOf(error)),
    at: topOf(stackOf(error)),
  }),
});

/**
 * Returns a function that replaces every configured secret in a text, such as a server's error message: in any case of
 * letters, also escaped as in JSON or XML, in percent-encoding, hexadecimal and base64, as in a header that a server
 * echoes.
 */
export function redactor(secrets: string[]): (text: string) => string {
  let redact = redactors.get(secrets);
  if (!redact) {
    const forms = secrets.flatMap(formsOf).toSorted((a, b) => b.length - a.length);
    const pattern = forms.length > 0 ? new RegExp(forms.join('|'), 'gi') : undefined;
    redact = (text) => (pattern ? text.replace(pattern, '[redacted]') : text);
    redactors.set(secrets, redact);
  }
  return redact;
}

const redactors = new WeakMap<string[], (text: string) => string>();
const shortestEncoded = 6;

/** The forms in which a secret may appear, as patterns. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [
    Array.from(secret, characterOf).join(''),
    bytes.toString('hex'),
    ...[0, 1, 2].map((offset) => base64Of(bytes, offset)),
  ].filter((form) => form.length >= Math.min(shortestEncoded, secret.length));
}

/**
 * A character as it is, percent-encoded once or twice, or escaped as in JSON or XML. Encoders differ in which
 * characters they escape.
 */
function characterOf(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) =>
    character.charCodeAt(at).toString(16).padStart(4, '0'),
  );
  const code = character.codePointAt(0)!;
  const forms = [
    `\\\\{0,3}${escaped(character)}`,
    Buffer.from(character).toString('hex').replace(/../g, '%(?:25)?$&'),
    units.map((unit) => `\\\\{1,2}u${unit}`).join(''),
    `&#(?:0*${code}|x0*${code.toString(16)});`,
    ...(character === ' ' ? ['\\+'] : []),
    ...(entities[character] ? [`&${entities[character]};`] : []),
  ];
  return `(?:${forms.join('|')})`;
}

const entities: Record<string, string> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": 'apos' };

/**
 * The base64 of a secret that begins `offset` bytes into a group of three, whatever is around it, as in `user:secret`.
 */
function base64Of(secret: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), secret])
    .toString('base64')
    .replace(/=+$/, '');
  const whole = (secret.length + offset) % 3 === 0 ? text : text.slice(0, -1);
  const kept = whole.slice(offset === 0 ? 0 : offset + 1);
  if (kept.length < shortestEncoded) return '';
  return escaped(kept).replaceAll('\\+', '[+-]').replaceAll('/', '[/_]');
}

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, (sign) => (sign === '/' ? '/' : `\\${sign}`));
