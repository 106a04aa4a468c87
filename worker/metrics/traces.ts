import {
  context,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Link,
  type ProxyTracerProvider,
  type Span,
  type Tracer,
} from '@opentelemetry/api';
import { isTraceparent } from '../queue/client/new-job.ts';
import { version } from '../queue/fleet/version.ts';
import type { JobRow } from '../queue/job.ts';
import type { Ended, Observer } from '../queue/run/observer.ts';

/**
 * A span for each attempt, with a link to the trace that the job belongs to, and the context of that span for its
 * handler. Names and attributes are those of the semantic conventions for messaging, 1.44.
 * https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 *
 * Without an SDK that the user has registered, an attempt costs one look whether there is one.
 */
export class Traces implements Observer {
  readonly #spans = new Map<Readonly<JobRow>, Span>();

  started(job: Readonly<JobRow>, waited_ms: number): void {
    const tracer = findTracer();
    if (!tracer) return;
    const { id, kind, attempt } = job;
    const span = startSpan(tracer, job.queue, linksTo([job.traceparent]), {
      'messaging.message.id': String(id),
      'rowmill.job.kind': kind,
      'rowmill.job.attempt': attempt,
      'rowmill.job.wait_ms': waited_ms,
    });
    this.#spans.set(job, span);
  }

  ended(job: Readonly<JobRow>, ended: Ended): void {
    const span = this.#spans.get(job);
    if (!span) return;
    this.#spans.delete(job);
    span.setAttribute('rowmill.job.outcome', ended.outcome);
    if ('error_code' in ended) {
      // The message of an error may quote a payload: it stays in the row.
      span.setAttribute('error.type', ended.error_code);
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end();
  }

  /** The handler of a batch has a span of its own, which links to those of its jobs. */
  within<T>(jobs: readonly Readonly<JobRow>[], handler: () => T): T {
    if (this.#spans.size === 0) return handler();
    const spans = jobs.flatMap((job) => this.#spans.get(job) ?? []);
    const tracer = spans.length > 0 ? findTracer() : undefined;
    if (!tracer) return handler();
    if (jobs.length === 1) return inContext(spans[0]!, handler);
    const batch = startSpan(
      tracer,
      jobs[0]!.queue,
      spans.map((span) => ({ context: span.spanContext() })),
      { 'messaging.batch.message_count': jobs.length, 'rowmill.job.kind': jobs[0]!.kind },
    );
    return endsWith(batch, inContext(batch, handler));
  }
}

/** Undefined while no SDK is registered. The global provider is of whichever copy of the API was loaded first. */
function findTracer(): Tracer | undefined {
  const provider: Partial<ProxyTracerProvider> = trace.getTracerProvider();
  return provider.getDelegateTracer
    ? provider.getDelegateTracer('rowmill', version)
    : provider.getTracer!('rowmill', version);
}

function startSpan(tracer: Tracer, queue: string, links: Link[], own: Record<string, string | number>): Span {
  const attributes = {
    'messaging.system': 'rowmill',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.name': queue,
    ...own,
  };
  return tracer.startSpan(`process ${queue}`, { kind: SpanKind.CONSUMER, links, attributes }, ROOT_CONTEXT);
}

const inContext = <T>(span: Span, handler: () => T): T => context.with(trace.setSpan(context.active(), span), handler);

function endsWith<T>(span: Span, work: T): T {
  const end = () => span.end();
  if (work instanceof Promise) work.then(end, end);
  else end();
  return work;
}

function linksTo(traceparents: (string | null)[]): Link[] {
  return traceparents.flatMap((header) => {
    if (header === null || !isTraceparent(header)) return [];
    const [, traceId, spanId, flags] = header.split('-') as [string, string, string, string];
    return { context: { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true } };
  });
}
