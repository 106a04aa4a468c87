import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as breath } from 'node:timers/promises';
import { createMemoryGate, type Clock, type Need, type Sort } from '../../worker/media/memory.ts';

const never = new AbortController().signal;

describe('The memory gate', () => {
  it('gives back what the work returns', async () => {
    assert.equal(await createMemoryGate({ bytes: 100, slots: 1 }).run(100, never, async () => 'done'), 'done');
  });

  it('admits as much as fits, and the rest in order as room comes free', async () => {
    const { start, end, running } = watch({ bytes: 100, slots: 9 });
    start('a', 60);
    start('b', 40);
    start('c', 50);
    assert.equal(await running(), 'a b');
    end('b');
    assert.equal(await running(), 'a');
    end('a');
    assert.equal(await running(), 'c');
  });

  it('lets a small one overtake a large one that waits, for a while', async () => {
    const { start, end, running, pass } = watch({ bytes: 100, slots: 9 });
    start('a', 60);
    start('large', 100);
    start('small', 10);
    assert.equal(await running(), 'a small');
    pass(11);
    start('late', 10);
    assert.equal(await running(), 'a small', 'the large one has waited long enough: room is kept for it');
    end('a');
    end('small');
    assert.equal(await running(), 'large');
    end('large');
    assert.equal(await running(), 'late');
  });

  it('gives the most of what is asked for that is free', async () => {
    const gate = createMemoryGate({ bytes: 100, slots: 9 });
    const need: Need = { bytes: [80, 50], sort: 'short' };
    const granted = (bytes: number) => Promise.resolve(bytes);
    assert.equal(await gate.run(need, never, granted), 80);
    await gate.run(40, never, async () => assert.equal(await gate.run(need, never, granted), 50));
  });

  it('runs no more at once than it has slots', async () => {
    const { start, end, running } = watch({ bytes: 100, slots: 2 });
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
    const { gate, start, running, pass } = watch({ bytes: 100, slots: 9 });
    const caller = new AbortController();
    start('a', 60);
    const large = gate.run(100, caller.signal, async () => assert.fail('it ran'));
    pass(11);
    start('small', 10);
    assert.equal(await running(), 'a');
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

describe('A long encode', () => {
  const [bytes, slots] = [1000e6, 3];

  it('leaves a share of the memory to short work', async () => {
    const { gate, start, running } = watch({ bytes, slots });
    assert.equal(gate.longBytes, 600e6);
    start('long', 600e6, 'long');
    start('other', 100e6, 'long');
    start('short', 400e6);
    assert.equal(await running(), 'long short');
  });

  it('leaves one slot to others, however little it needs, and takes none of theirs', async () => {
    const { start, running } = watch({ bytes, slots: 2 });
    start('long', 10, 'long');
    start('other', 10, 'long');
    for (const name of ['a', 'b', 'c']) start(name, 10);
    assert.equal(await running(), 'long a b');
  });

  it('keeps its turn among long ones', async () => {
    const { start, end, running } = watch({ bytes, slots });
    start('a', 500e6, 'long');
    start('b', 400e6, 'long');
    start('c', 100e6, 'long');
    assert.equal(await running(), 'a');
    end('a');
    assert.equal(await running(), 'b c');
  });

  it('has no share of a small budget: there it is done in pieces, and short work goes in between', async () => {
    const { gate, start, end, running, pass } = watch({ bytes: 280e6, slots: 2 });
    assert.equal(gate.longBytes, 0);
    start('piece', 250e6, 'piece');
    start('next piece', 250e6, 'piece');
    assert.equal(await running(), 'piece');
    pass(14);
    start('short', 100e6);
    end('piece');
    assert.equal(await running(), 'short', 'it has a head start');
    start('later', 100e6);
    pass(12);
    start('latest', 100e6);
    end('short');
    assert.equal(await running(), 'later latest', 'the piece has not waited for so long that it is overtaken no more');
    pass(20);
    start('too late', 100e6);
    end('later');
    assert.equal(await running(), 'latest', 'now it has');
    end('latest');
    assert.equal(await running(), 'next piece');
  });

  it('lets the short work that waits go before the next piece, however long that has waited', async () => {
    const { start, end, running, pass } = watch({ bytes: 280e6, slots: 2 });
    start('piece', 250e6, 'piece');
    start('next piece', 250e6, 'piece');
    assert.equal(await running(), 'piece');
    pass(80);
    start('short', 100e6);
    end('piece');
    assert.equal(await running(), 'short');
    end('short');
    assert.equal(await running(), '');
    pass(1);
    assert.equal(await running(), 'next piece');
  });

  it('lets what follows short work at once go before the next piece, unless both fit or it has aged', async () => {
    const { start, end, running, pass } = watch({ bytes: 280e6, slots: 3 });
    start('piece', 250e6, 'piece');
    start('next piece', 250e6, 'piece');
    start('probe', 100e6);
    await running();
    end('piece');
    assert.equal(await running(), 'probe');
    end('probe');
    assert.equal(await running(), '', 'the clip goes on in a moment');
    pass(0.5);
    start('encode', 100e6);
    assert.equal(await running(), 'encode');
    end('encode');
    assert.equal(await running(), '');
    pass(1);
    assert.equal(await running(), 'next piece');
    start('another piece', 250e6, 'piece');
    end('next piece');
    assert.equal(await running(), 'another piece', 'nothing short came meanwhile');

    end('another piece');
    start('short before', 100e6);
    assert.equal(await running(), 'short before');
    end('short before');
    assert.equal(await running(), '');
    start('piece after', 250e6, 'piece');
    assert.equal(await running(), '', 'it came within the time of courtesy');
    pass(1);
    assert.equal(await running(), 'piece after');

    start('last piece', 250e6, 'piece');
    start('small', 10e6);
    assert.equal(await running(), 'piece after small');
    end('small');
    end('piece after');
    assert.equal(await running(), 'last piece', 'as much would fit beside it');
    start('old piece', 250e6, 'piece');
    start('short', 100e6);
    await running();
    end('last piece');
    assert.equal(await running(), 'short');
    pass(46);
    end('short');
    assert.equal(await running(), 'old piece', 'it has waited for long');
  });

  it('is not what room is kept from: short work goes on, however long it waits for another', async () => {
    const { start, running, pass } = watch({ bytes, slots });
    start('a', 500e6, 'long');
    start('b', 500e6, 'long');
    start('large', 600e6);
    pass(600);
    start('small', 100e6);
    assert.equal(await running(), 'a small');
  });

  it('tells its job to step aside, and that it waits', async () => {
    const gate = createMemoryGate({ bytes, slots });
    const told: string[] = [];
    const job = gate.of({
      aside: () => void told.push('aside'),
      waiting: (what, turn) => (told.push(what), turn),
    });
    await job.run(1, never, async () => {});
    await job.run({ bytes: [1], sort: 'long' }, never, async () => {});
    assert.deepEqual(told, ['memory', 'aside', 'memory']);
  });
});

/** Named pieces of work that run until they are ended, and a clock of seconds. */
function watch(budget: { bytes: number; slots: number }) {
  let seconds = 0;
  const timers = new Set<{ at: number; work: () => void }>();
  const clock: Clock = {
    now: () => seconds * 1_000,
    after: (ms, work) => void timers.add({ at: seconds * 1_000 + ms, work }),
  };
  const gate = createMemoryGate({ ...budget, clock });
  const open = new Map<string, () => void>();
  const start = (name: string, bytes: number, sort: Sort = 'short') => {
    const work = () => new Promise<void>((resolve) => open.set(name, resolve));
    void gate.run({ bytes: [bytes], sort }, never, work);
  };
  const end = (name: string) => {
    open.get(name)!();
    open.delete(name);
  };
  const running = async () => {
    await breath();
    return [...open.keys()].join(' ');
  };
  const pass = (some: number) => {
    seconds += some;
    for (const timer of timers)
      if (timer.at <= clock.now()) {
        timers.delete(timer);
        timer.work();
      }
  };
  return { gate, start, end, running, pass };
}
