import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as breath } from 'node:timers/promises';
import { createMemoryGate, type MemoryGate } from '../../worker/media/memory.ts';

const never = new AbortController().signal;

describe('The memory gate', () => {
  it('gives back what the work returns', async () => {
    assert.equal(await createMemoryGate({ bytes: 100, slots: 1 }).run(100, never, async () => 'done'), 'done');
  });

  it('admits as much as fits, and the rest in order as room comes free', async () => {
    const { start, end, running } = watch(createMemoryGate({ bytes: 100, slots: 9 }));
    start('a', 60);
    start('b', 40);
    start('c', 50);
    assert.equal(await running(), 'a b');
    end('b');
    assert.equal(await running(), 'a');
    end('a');
    assert.equal(await running(), 'c');
  });

  it('lets no small one overtake a large one that waits', async () => {
    const { start, end, running } = watch(createMemoryGate({ bytes: 100, slots: 9 }));
    start('a', 60);
    start('large', 100);
    start('small', 10);
    assert.equal(await running(), 'a');
    end('a');
    assert.equal(await running(), 'large');
    end('large');
    assert.equal(await running(), 'small');
  });

  it('runs no more at once than it has slots', async () => {
    const { start, end, running } = watch(createMemoryGate({ bytes: 100, slots: 2 }));
    for (const name of ['a', 'b', 'c']) start(name, 1);
    assert.equal(await running(), 'a b');
    end('a');
    assert.equal(await running(), 'b c');
  });

  it('has its bytes and its slot back when the work fails', async () => {
    const gate = createMemoryGate({ bytes: 100, slots: 1 });
    await assert.rejects(
      gate.run(100, never, async () => {
        throw new Error('broken');
      }),
      { message: 'broken' },
    );
    assert.equal(await gate.run(100, never, async () => 'next'), 'next');
  });

  it('lets one that waits go when it is aborted, and those behind it move up', async () => {
    const gate = createMemoryGate({ bytes: 100, slots: 9 });
    const { start, running } = watch(gate);
    const caller = new AbortController();
    start('a', 60);
    const large = gate.run(100, caller.signal, async () => assert.fail('it ran'));
    start('small', 10);
    caller.abort(new Error('stop'));
    await assert.rejects(large, { message: 'stop' });
    assert.equal(await running(), 'a small');
  });

  it('does not start what is aborted before', async () => {
    const gate = createMemoryGate({ bytes: 100, slots: 1 });
    await assert.rejects(
      gate.run(1, AbortSignal.abort(new Error('stop')), async () => assert.fail('it ran')),
      { message: 'stop' },
    );
  });

  it('leaves no listener on the signal', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => (
      listeners++,
      addEventListener.apply(signal, args)
    );
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => (
      listeners--,
      removeEventListener.apply(signal, args)
    );
    await createMemoryGate({ bytes: 100, slots: 1 }).run(1, signal, async () => {});
    assert.equal(listeners, 0);
  });

  it('refuses at once what could never be admitted', async () => {
    const gate = createMemoryGate({ bytes: 100, slots: 1 });
    await assert.rejects(
      gate.run(101, never, async () => assert.fail('it ran')),
      RangeError,
    );
  });
});

/** Named pieces of work that run until they are ended. */
function watch(gate: MemoryGate) {
  const open = new Map<string, () => void>();
  const start = (name: string, bytes: number) => {
    void gate.run(bytes, never, () => new Promise<void>((resolve) => open.set(name, resolve)));
  };
  const end = (name: string) => {
    open.get(name)!();
    open.delete(name);
  };
  const running = async () => {
    await breath();
    return [...open.keys()].join(' ');
  };
  return { start, end, running };
}
