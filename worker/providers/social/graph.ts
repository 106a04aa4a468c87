import type { Config } from '../../base/config/config.ts';
import type { Service } from '../../base/http/fetch.ts';
import type { Answer } from '../../base/http/request.ts';
import type { Task } from './adapter.ts';
import { Limited } from './errors.ts';
import { exchange, formOf, formType, isOk, jsonIn, listIn, wordIn, type Asked, type Json } from './exchange.ts';
import { judgeMeta } from './meta-errors.ts';
import { nearlyUsed } from './meta-usage.ts';

/** The Graph API of one service: requests with the token of a task, judged, with an eye on the limits. */
export type Graph = {
  read(task: Task, path: string, fields?: Fields): Promise<Json>;
  write(task: Task, path: string, fields: Fields): Promise<Json>;
  /** What makes a post public: an answer that says nothing for certain is thrown as an unforeseen error. */
  publish(task: Task, path: string, fields: Fields): Promise<Json>;
  /** Any other request, such as bytes. */
  ask(task: Task, url: URL, asked: Pick<Asked, 'method' | 'headers' | 'body' | 'timeoutMs'>): Promise<Json>;
};

type Fields = Record<string, string | number | boolean | undefined>;

export function createGraph(service: Service, base: string, { social }: Pick<Config, 'social'>): Graph {
  const { timeoutMs } = social;
  const ask = async (
    task: Task,
    url: URL,
    asked: Pick<Asked, 'method' | 'headers' | 'body' | 'timeoutMs' | 'publishes'>,
  ) => {
    const answer = await exchange(url, { service, signal: task.signal, ...asked });
    await watchUsage(task, answer);
    if (isOk(answer)) return jsonIn(answer);
    const error = judgeMeta(answer, service.name);
    if (asked.publishes && isUncertain(answer)) throw new Error(error.message);
    throw error;
  };
  /** In the header, so that no log of an address has it. */
  const authorized = (task: Task) => ({ authorization: `Bearer ${task.access.token}` });
  const post = (task: Task, path: string, fields: Fields, publishes: boolean) =>
    ask(task, new URL(`${base}${path}`), {
      method: 'POST',
      headers: { ...formType, ...authorized(task) },
      body: formOf(fields),
      publishes,
      timeoutMs,
    });
  /** Pauses the posts to come, before Meta refuses them. */
  async function watchUsage(task: Task, answer: Answer): Promise<void> {
    const usage = nearlyUsed(answer, social.usagePause);
    if (!usage) return;
    const words = `${service.name} says that ${usage.percent} % of a limit are used (SOCIAL_USAGE_PAUSE)`;
    await task.warn(new Limited(usage.scope, usage.regainMs, words));
  }
  return {
    read: (task, path, fields = {}) =>
      ask(task, new URL(`${base}${path}?${formOf(fields)}`), { headers: authorized(task), timeoutMs }),
    write: (task, path, fields) => post(task, path, fields, false),
    publish: (task, path, fields) => post(task, path, fields, true),
    ask,
  };
}

/** A server in trouble, or an error of Meta's that may come after it was done: 1, 2, and is_transient. */
function isUncertain(answer: Answer): boolean {
  const error = (jsonIn(answer)['error'] ?? {}) as Json;
  return (
    answer.status >= 500 ||
    ['1', '2', '-1', '-2'].includes(wordIn(error, 'code') ?? '') ||
    error['is_transient'] === true
  );
}

/** The newest post of a list that has this text, was made after `since`, and is of no other row. */
export async function newestLike(
  task: Task,
  answer: Json,
  { text, field, since }: { text: string; field: string; since: Date },
): Promise<Json | undefined> {
  const alike = listIn(answer, 'data').filter((each) => {
    const made = Date.parse(wordIn(each, 'created_time') ?? wordIn(each, 'timestamp') ?? '');
    // Meta's clock may be a little behind.
    return (wordIn(each, field) ?? '') === text && made >= since.getTime() - 60_000;
  });
  const ids = await task.strangers(alike.map((each) => wordIn(each, 'id') ?? ''));
  return alike.find((each) => ids.includes(wordIn(each, 'id') ?? ''));
}
