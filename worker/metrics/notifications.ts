import { Counter, type Registry as Prometheus } from 'prom-client';
import { isOf, DeploymentError, PermanentError, RetryableError, Snooze } from '../base/errors.ts';
import type { Sender } from '../providers/sender.ts';
import { Bucketed, ReadHistogram } from './histogram.ts';

const milliseconds = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000] as const;

/** What a provider said: see the errors of Sender. */
type Status = 'sent' | 'failed' | 'retry' | 'deferred' | 'unknown';

/** Counts what providers are asked to send, and how long that takes. */
export class Notifications {
  readonly #channels = new Map<string, Bucketed>();
  readonly #sent: Counter<'channel' | 'status'>;

  constructor(prometheus: Prometheus) {
    const channels = this.#channels;
    this.#sent = new Counter({
      name: 'notifications_sent_total',
      help: 'Messages that a provider was asked to send, by what it said: sent, failed, retry, deferred, unknown',
      labelNames: ['channel', 'status'],
      registers: [prometheus],
    });
    const help = 'How long a call of a provider took, in milliseconds';
    const described = { name: 'notification_send_duration_ms', help, bounds: milliseconds, labelNames: ['channel'] };
    const read = () => channels.entries().map(([channel, of]) => ({ labels: { channel }, of }));
    prometheus.registerMetric(new ReadHistogram({ ...described, registers: [] }, read));
  }

  /** Watches a sender that was made for this process. */
  readonly measure = (channel: string, sender: Sender<never>): void => {
    const duration = this.#channels.get(channel) ?? new Bucketed(milliseconds);
    this.#channels.set(channel, duration);
    const tell = (began: number, answers: readonly unknown[]) => {
      duration.observe(performance.now() - began);
      for (const answer of answers) this.#sent.inc({ channel, status: statusOf(answer) });
    };
    const watched =
      <Args extends unknown[], Answer>(
        call: (...args: Args) => Promise<Answer>,
        answersOf: (answer: Answer) => readonly unknown[],
        many: (args: Args) => number,
      ) =>
      async (...args: Args): Promise<Answer> => {
        const began = performance.now();
        try {
          const answer = await call(...args);
          tell(began, answersOf(answer));
          return answer;
        } catch (error) {
          tell(
            began,
            Array.from({ length: many(args) }, () => error),
          );
          throw error;
        }
      };
    sender.send = watched(
      sender.send.bind(sender),
      (receipt) => [receipt],
      () => 1,
    );
    if (sender.sendMany)
      sender.sendMany = watched(
        sender.sendMany.bind(sender),
        (answers) => answers,
        ([messages]) => messages.length,
      );
  };
}

function statusOf(answer: unknown): Status {
  if (!(answer instanceof Error)) return 'sent';
  if (isOf(answer, PermanentError)) return 'failed';
  if (isOf(answer, RetryableError) || isOf(answer, DeploymentError)) return 'retry';
  return isOf(answer, Snooze) ? 'deferred' : 'unknown';
}
