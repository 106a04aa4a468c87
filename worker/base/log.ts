import { pino, type Logger } from 'pino';
import type { Config } from './config.ts';
import { codeOf, messageOf } from './errors.ts';

export type Log = Logger;

/**
 * One JSON line an event: a constant message, fields named as the columns are, identity bound once by `log.child`.
 * Payloads, addresses and tokens are never passed in; configured secrets are cut out of error messages.
 */
export function createLog(config: Pick<Config, 'logLevel' | 'secrets'>, destination?: NodeJS.WritableStream): Log {
  const redact = redactor(config.secrets);
  const options = {
    level: config.logLevel,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: (error: unknown) => ({ code: codeOf(error), message: redact(messageOf(error)) }) },
  };
  return destination ? pino(options, destination) : pino(options);
}

/** Replaces every configured secret in a text that may carry one, such as a driver's error message. */
export function redactor(secrets: string[]): (text: string) => string {
  const longestFirst = secrets.toSorted((a, b) => b.length - a.length);
  return (text) => longestFirst.reduce((result, secret) => result.replaceAll(secret, '[redacted]'), text);
}
