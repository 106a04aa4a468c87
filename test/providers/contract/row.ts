import type { Config } from '../../../worker/base/config/config.ts';
import type { Sender } from '../../../worker/providers/sender.ts';

/** The far side of a provider, over a loopback socket. */
export type FarSide = {
  /** Settings that lead to it. */
  env: Record<string, string>;
  /** Where the message has the address of the far side in it: in place of that of the row. */
  message?: unknown;
  /** The key of each message that it took, in their order. */
  taken(): string[];
  /** What goes wrong with the next messages. The first three are the same for all. */
  fail(fault: Fault): void;
  heal(): void;
  /** Resolves when it has read a message that it will not answer. */
  hanging(): Promise<void>;
  close(): Promise<void>;
};

export type Fault =
  /** It reads the message and never answers. */
  | 'hang'
  /** It reads the message and drops the connection. */
  | 'drop'
  /** It takes the message, and its answer has no end. */
  | 'endless'
  /** An answer of the vendor's own. */
  | Answer;

/** Of HTTP: a status, headers and a body. Of SMTP: a code and its text, at a stage. */
export type Answer = {
  status: number;
  headers?: Record<string, string>;
  body?: string;
  stage?: 'login' | 'from' | 'recipient' | 'data';
};

/**
 * What becomes of a message. `permanent`: it was not sent and never will be. `retryable`: it was not sent, and another
 * provider or a later attempt may. `fault`: the same, for a fault of the deployment. `snooze`: the provider says when.
 * `unknown`: nobody knows.
 */
export type Expected = `${'permanent' | 'retryable' | 'fault'} ${string}` | `snooze ${number}` | 'unknown';

/** A provider: one row of the contract. */
export type Row = {
  /** `<channel>/<provider>`. */
  name: string;
  start(): Promise<FarSide>;
  create(config: Config): Sender<never> | undefined;
  /** With `canary` in the address and in the words. */
  message?: unknown;
  /** The vendor has no field that the key could be sent in. */
  keyless?: true;
  /** What the settings have that may be seen nowhere. */
  secrets: string[];
  /** A setting that leads to a port where nobody listens, if the address is a setting. */
  gone?: Record<string, string>;
  /** A setting that shortens its time limit. */
  impatient: Record<string, string>;
  /** How the far side refuses its key, if the provider has a check. */
  locked?: Fault;
  /** What it does with an answer without end. */
  endless: Expected | 'sent';
  /** Each documented status. */
  cases: [what: string, fault: Fault, expected: Expected][];
};

export const canary = 'canary-7f3a';
