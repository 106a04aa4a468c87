import { z } from 'zod';
import { decoded } from '../address.ts';
import { UsageError } from '../errors.ts';
import { surroundings } from '../surroundings.ts';
import { alerts } from './alerts.ts';
import { callbacks } from './callbacks.ts';
import { cleanup } from './cleanup.ts';
import { cloudflare } from './cloudflare.ts';
import { dashboard } from './dashboard.ts';
import { database } from './database.ts';
import { email } from './email.ts';
import type { Around, Group } from './group.ts';
import { imagorvideo } from './imagorvideo.ts';
import { ingress } from './ingress.ts';
import { media } from './media.ts';
import { monitor } from './monitor.ts';
import { notification } from './notification.ts';
import { process } from './process.ts';
import { push } from './push.ts';
import { queues } from './queues.ts';
import { rabbitmq } from './rabbitmq.ts';
import { raid } from './raid.ts';
import { seal } from './seal.ts';
import { slack } from './slack.ts';
import { social } from './social.ts';
import { sqs } from './sqs.ts';
import { storage } from './storage.ts';
import { twilio } from './twilio.ts';
import { webhook } from './webhook.ts';

/**
 * A new group of settings is a file of this folder, and its name here. Those behind `process` may ask what is around.
 */
const groups = [
  database,
  process,
  queues,
  storage,
  media,
  raid,
  imagorvideo,
  cleanup,
  notification,
  email,
  push,
  slack,
  webhook,
  social,
  seal,
  twilio,
  callbacks,
  ingress,
  rabbitmq,
  sqs,
  cloudflare,
  dashboard,
  alerts,
  monitor,
] as const;

/** What all of them are at once. */
type Both<Shapes> = (Shapes extends unknown ? (shape: Shapes) => void : never) extends (all: infer All) => void
  ? All
  : never;
export type Config = Both<ReturnType<(typeof groups)[number]['read']>> & {
  /** Values that must never get into a log line or a text column. */
  secrets: string[];
};

const schemas: Record<string, z.ZodType> = Object.assign({}, ...groups.map(({ settings: schema }) => schema));

/** The names of all settings. `.env.example` explains each. */
export const settings: string[] = Object.keys(schemas);

/** The names of the settings that are set in the environment. */
export const settingsGiven = (): string[] => settings.filter((name) => surroundings().env[name]?.trim());

/**
 * Reads the environment, once; nothing else reads it. All faults are reported together, by name.
 * @throws UsageError that names every fault, one per line
 */
export function loadConfig(env: NodeJS.ProcessEnv = surroundings().env): Config {
  const given = Object.fromEntries(
    // A notification system names its queues by topics: NOTIFICATIONS.EMAIL_QUEUE_URL.
    Object.entries(env).flatMap(([name, value]) => (value?.trim() ? [[name.replaceAll('.', '_'), value]] : [])),
  );
  const checked = (groups as readonly AnyGroup[]).map((each) => check(each, given));
  const faults = [...checked.flatMap((each) => each.faults), ...markedNames(given)];
  if (faults.length > 0) throw new UsageError(`The environment has faults:\n  ${faults.join('\n  ')}`);
  let config: object = { searchPath: env['PATH'] ?? '' };
  for (const { read } of checked) config = { ...config, ...read(config as Around) };
  return { ...config, secrets: secretsOf(given) } as Config;
}

// The types of its settings differ from group to group.
type AnyGroup = Group<any, object>;

/** What is wrong with the settings of a group, and a way to read them if nothing is. */
function check(group: AnyGroup, given: Record<string, string>) {
  const { success, data: env, error } = z.object(group.settings).safeParse(given);
  const faults = success ? [] : error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  faults.push(...incomplete(group, given), ...(group.faults?.(given, env) ?? []));
  return { faults, read: (around: Around) => group.read(env!, around) };
}

function incomplete({ together = {} }: AnyGroup, given: Record<string, string>): string[] {
  return Object.entries(together).flatMap(([what, names]) => {
    const missing = names.filter((name) => !(name in given));
    if (missing.length === 0 || missing.length === names.length) return [];
    return missing.map((name) => `${name}: is missing, while other ${what} settings are set`);
  });
}

/** Editors on Windows may begin `.env` with a byte order mark, and Node reads it as part of the first name. */
const markedNames = (given: Record<string, string>): string[] =>
  Object.keys(given)
    .filter((name) => name.startsWith('\uFEFF'))
    .map(
      (name) => `${name.slice(1)}: is not read, for .env begins with a byte order mark: save it as UTF-8 without one`,
    );

/**
 * The settings that are marked as secrets, with their parts that are secrets alone; and what is secret in those that
 * are URLs.
 */
function secretsOf(given: Record<string, string>): string[] {
  const found = settings.flatMap((name) => {
    const value = given[name]?.trim() ?? '';
    const secret = schemas[name]!.meta()?.['secret'];
    if (typeof secret === 'function') return [value, ...(secret as (value: string) => string[])(value)];
    return secret ? [value] : credentialsIn(value);
  });
  return [...new Set(found)].filter((secret) => secret.length >= 4);
}

/**
 * What is secret in a URL, as it is written and as it is meant: its password, or a user name that stands alone, as a
 * token does. The role of a database is no secret.
 */
function credentialsIn(text: string): string[] {
  const [, scheme, user, password] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#:]*)(?::([^/?#]*))?@/i.exec(text) ?? [];
  const alone = /^postgres/i.test(scheme ?? '') ? undefined : user;
  const param = /^[^#]*[?&]password=([^&#]*)/.exec(text)?.[1];
  return [password || alone, param].flatMap((part) => (part ? [part, decoded(part)] : []));
}
