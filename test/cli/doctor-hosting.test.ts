import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHosting, unreachableFix } from '../../worker/cli/doctor/hosting.ts';

// `rowmill doctor`: what it knows of the services that host databases.

const region = 'aws-0-eu-central-1.pooler.supabase.com';

for (const [url, connections, state, says] of [
  [`postgres://u.ref:p@${region}:6543/postgres`, 16, 'warn', /session pooler: the same host, port 5432/],
  [`postgres://u.ref:p@${region}:5432/postgres`, 16, 'warn', /16 connections .* DATABASE_CONNECTIONS=7/],
  [`postgres://u.ref:p@${region}/postgres`, 7, 'ok', /two processes of 7 fit/],
  ['postgres://postgres:p@db.abcdefgh.supabase.co:5432/postgres', 16, 'ok', /IPv6 only/],
  ['postgres://u:p@ep-cool-darkness-1a2b-pooler.eu-central-1.aws.neon.tech/db', 16, 'warn', /without -pooler/],
  ['postgres://u:p@EP-cool-darkness-1a2b.eu-central-1.aws.neon.tech/db', 16, 'ok', /does not sleep/],
  ['postgres://u:p@app.proxy-c1a2b3.eu-west-1.rds.amazonaws.com/db', 16, 'warn', /endpoint of the instance/],
  ['postgres://u:p@app.c1a2b3.eu-west-1.rds.amazonaws.com/db', 16, undefined, /^$/],
  ['postgres://u:p@app-do-user-1.b.db.ondigitalocean.com:25061/pool', 16, 'warn', /25060/],
  ['postgres://u:p@app-do-user-1.b.db.ondigitalocean.com:25060/db', 16, undefined, /^$/],
  ['postgres://u:p@monorail.proxy.rlwy.net:41234/railway', 16, 'ok', /private/],
  ['postgres://u:p@postgres.railway.internal:5432/railway', 16, undefined, /^$/],
  ['postgres://u:p@pooler.supabase.com.example.org:6543/db', 16, undefined, /^$/],
  ['postgres:///db?host=/var/run/postgresql', 16, undefined, /^$/],
] as const)
  test(`${URL.parse(url)?.host || 'a socket'}, ${connections} connections: ${state ?? 'nothing special'}`, () => {
    const found = checkHosting(url, connections);
    assert.equal(found?.state, state);
    assert.match(found ? `${found.detail} ${found.fix ?? ''}` : '', says);
  });

test('a host with IPv6 only: the address to use instead', () => {
  assert.match(unreachableFix('db.abcdefgh.supabase.co')!, /session pooler/);
  assert.equal(unreachableFix('db.example.org'), undefined);
});
