import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import sodium from 'libsodium-wrappers';
import { eventually } from '../support/eventually.ts';
import { createMessenger, type Messenger } from '../support/messenger.ts';

// Prekeys made for simulated devices, which hold their identity keys as real ones do.

let messenger: Messenger;
let user: string;
before(async () => {
  await sodium.ready;
  messenger = await createMessenger();
  user = await messenger.one(`insert into users (name) values ('Ada') returning id`);
});
after(() => messenger.close());

type Device = { id: string; identity: { publicKey: Uint8Array; privateKey: Uint8Array } };

async function device({
  identity_key,
  unused = 0,
  used = [] as string[],
  ...rest
}: {
  identity_key?: Uint8Array | null;
  unused?: number;
  used?: string[];
  next_prekey_id?: number;
} = {}): Promise<Device> {
  const identity = sodium.crypto_box_keypair();
  const key = identity_key === undefined ? Buffer.concat([Buffer.from([5]), identity.publicKey]) : identity_key;
  const id = await messenger.one(`insert into devices (user_id, identity_key) values ($1, $2) returning id`, [
    user,
    key && Buffer.from(key),
  ]);
  const publicKey = Buffer.concat([Buffer.from([5]), randomBytes(32)]);
  await messenger.sql(
    `insert into prekeys (device_id, prekey_id, public_key, used_at)
     select $1::uuid, n, $2, now() - u.age from unnest($3::interval[]) with ordinality u (age, n)`,
    [id, publicKey, [...used, ...Array.from({ length: unused }, () => null)]],
  );
  if (rest.next_prekey_id)
    await messenger.sql('update devices set next_prekey_id = $2 where id = $1', [id, rest.next_prekey_id]);
  return { id, identity };
}

const prekeysOf = (id: string) =>
  messenger.sql(
    `select prekey_id, public_key, sealed_private_key, used_at from prekeys where device_id = $1 order by prekey_id`,
    [id],
  );
const openRequests = () =>
  messenger.sql(`select device_id, missing, reason from prekey_refill_requests where fulfilled_at is null`);
const clear = () => messenger.sql('delete from devices');

test('each device has ten unused keys after a run, which only its identity key opens, and gets them once', async () => {
  const fresh = await device();
  const plain = await device({ identity_key: sodium.crypto_box_keypair().publicKey });
  const worn = await device({ unused: 4, used: ['31 days', '40 days', '29 days'] });
  const full = await device({ unused: 12 });
  const devices = await Promise.all(Array.from({ length: 60 }, () => device({ unused: 9 })));

  const foretold = await messenger.cleanUp('prekeys', { type: 'prekeys', dryRun: true });
  assert.equal((await prekeysOf(worn.id)).length, 7);
  const done = await messenger.cleanUp('prekeys', { type: 'prekeys' });
  const { scanned, deleted, generated, requested, remaining } = done;
  assert.deepEqual(
    { scanned, deleted, generated, requested, remaining },
    { scanned: 2, deleted: 2, generated: 86, requested: 0, remaining: false },
  );
  assert.deepEqual({ ...done, cutoff: '', dryRun: true, remaining: true }, { ...foretold, cutoff: '' });

  for (const { id } of [fresh, plain, worn, ...devices])
    assert.equal((await prekeysOf(id)).filter((key) => !key['used_at']).length, 10);
  assert.equal((await prekeysOf(full.id)).length, 12);
  // After the ids of keys that are gone, too.
  assert.deepEqual(
    (await prekeysOf(worn.id)).map((key) => key['prekey_id']),
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
  );

  const collected = await messenger.sql('select * from collect_prekeys($1)', [fresh.id]);
  assert.equal(collected.length, 10);
  for (const key of collected) {
    const opened = sodium.crypto_box_seal_open(
      key['sealed_private_key'],
      fresh.identity.publicKey,
      fresh.identity.privateKey,
    );
    const publicHalf = Buffer.concat([Buffer.from([5]), sodium.crypto_scalarmult_base(opened)]);
    assert.deepEqual(publicHalf, key['public_key']);
    assert.throws(() =>
      sodium.crypto_box_seal_open(key['sealed_private_key'], worn.identity.publicKey, worn.identity.privateKey),
    );
  }
  assert.deepEqual(await messenger.sql('select * from collect_prekeys($1)', [fresh.id]), []);
  await everyColumnIsFreeOf(
    collected.map((key) =>
      Buffer.from(
        sodium.crypto_box_seal_open(key['sealed_private_key'], fresh.identity.publicKey, fresh.identity.privateKey),
      ),
    ),
  );
  assert.equal((await messenger.cleanUp('prekeys')).generated, 0);
  await clear();
});

/** Looks through the text of all rows of all tables, as a dump would have it. */
async function everyColumnIsFreeOf(secrets: Buffer[]): Promise<void> {
  const tables = await messenger.sql(`select c.oid::regclass::text as name from pg_class c
                         join pg_namespace n on n.oid = c.relnamespace
                                       where c.relkind = 'r' and n.nspname in (current_schema(), 'rowmill_tickets')`);
  let dump = '';
  for (const { name } of tables) dump += String(await messenger.one(`select string_agg(t::text, ' ') from ${name} t`));
  assert.match(dump, /prekeys/);
  for (const secret of secrets)
    for (const encoding of ['hex', 'base64', 'base64url'] as const)
      assert.ok(!dump.includes(secret.toString(encoding)));
}

test('a device that cannot be served is asked instead, once; the request is closed when it has uploaded', async () => {
  const lowOrder = new Uint8Array(32);
  const keyless = await device({ identity_key: null, unused: 3 });
  const weak = await device({ identity_key: lowOrder });
  const spent = await device({ next_prekey_id: 2 ** 24 - 5 });
  const served = await device();
  const foretold = await messenger.cleanUp('prekeys', { dryRun: true });
  assert.deepEqual(await openRequests(), []);
  const first = await messenger.cleanUp('prekeys');
  assert.deepEqual([first.generated, first.requested], [10, 3]);
  assert.deepEqual([foretold.generated, foretold.requested], [10, 3]);
  assert.deepEqual(
    (await openRequests()).map((row) => Object.values(row).join(' ')).toSorted(),
    [`${keyless.id} 7 no_identity_key`, `${weak.id} 10 bad_identity_key`, `${spent.id} 10 ids_used_up`].toSorted(),
  );
  assert.equal((await prekeysOf(served.id)).length, 10);

  const again = await messenger.cleanUp('prekeys');
  assert.deepEqual([again.generated, again.requested], [0, 0]);
  // No kind tells devices yet.
  assert.deepEqual(await messenger.sql(`select from notification_jobs`), []);

  await messenger.sql(
    `insert into prekeys (device_id, prekey_id, public_key) select $1::uuid, n, decode('05' || repeat('11', 32), 'hex')
     from generate_series(100, 110) n`,
    [keyless.id],
  );
  await messenger.cleanUp('prekeys');
  assert.deepEqual(
    (await openRequests()).map((row) => String(row['device_id'])).toSorted(),
    [weak.id, spent.id].toSorted(),
  );
  assert.equal(await messenger.one('select next_prekey_id from devices where id = $1', [keyless.id]), 111);
  await clear();
});

test('PREKEY_MODE=request: the worker makes no key, and asks each device', async (t) => {
  const asking = await createMessenger({ PREKEY_MODE: 'request' });
  t.after(() => asking.close());
  await asking.sql(`with u as (insert into users (name) values ('Bea') returning id)
                    insert into devices (user_id, identity_key) select id, decode(repeat('09', 32), 'hex') from u`);
  const { generated, requested } = await asking.cleanUp('prekeys');
  assert.deepEqual([generated, requested], [0, 1]);
  assert.equal(await asking.one('select count(*) from prekeys'), 0);
  assert.equal(await asking.one('select reason from prekey_refill_requests'), 'request_mode');
});

test('a run whose time is over goes on with the devices after it, and so comes to an end', async (t) => {
  const asking = await createMessenger({ PREKEY_MODE: 'request' });
  t.after(() => asking.close());
  await asking.sql(`with u as (insert into users (name) values ('Bea') returning id)
                    insert into devices (user_id) select id from u, generate_series(1, 100)`);
  // Each chunk takes longer than half a second.
  await asking.sql(`create function slow() returns trigger language plpgsql
                      as 'begin perform pg_sleep(0.6); return null; end';
                    create trigger slow after insert on prekey_refill_requests for each statement
                      execute function slow()`);
  const first = await asking.cleanUp('prekeys', { seconds: 1 });
  assert.deepEqual([first.remaining, first.requested < 100], [true, true]);
  await eventually(async () => {
    assert.equal(await asking.one(`select count(*) from cleanup_jobs where status in ('pending', 'processing')`), 0);
    assert.equal(await asking.one('select count(*) from prekey_refill_requests'), 100);
  }, 15_000);
  const dry = await asking.cleanUp('prekeys', { seconds: 1, dryRun: true });
  assert.equal(dry.dryRun, true);
  assert.equal(await asking.one(`select count(*) from cleanup_jobs where status in ('pending', 'processing')`), 0);
});

test('requests that were fulfilled 30 days ago go, and no others', async () => {
  const { id } = await device({ unused: 3, identity_key: null });
  await messenger.sql(
    `insert into prekey_refill_requests (device_id, missing, reason, requested_at, fulfilled_at)
     select $1, 7, 'no_identity_key', now() - interval '60 days', now() - age
       from unnest(array[interval '31 days', interval '29 days', null]) age`,
    [id],
  );
  const foretold = await messenger.cleanUp('prekeys', { dryRun: true });
  const { scanned, deleted } = await messenger.cleanUp('prekeys', { chunk: 1 });
  assert.deepEqual([scanned, deleted, foretold.deleted], [1, 1, 1]);
  const left = await messenger.sql(
    `select round(extract(day from now() - fulfilled_at))::int as days from prekey_refill_requests order by 1`,
  );
  assert.deepEqual(left, [{ days: 29 }, { days: null }]);
  await clear();
});
