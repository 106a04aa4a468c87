import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';

/**
 * An authority of one's own, as hosts of databases have: `<name>.pem`, and a certificate that it signed for a host.
 * Needs openssl.
 */
export async function makeAuthority(dir: string, name: string, host: string): Promise<void> {
  const openssl = (...args: string[]) => promisify(execFile)('openssl', args, { cwd: dir });
  const key = (to: string) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc', '-keyout', to];
  await openssl('req', '-x509', ...key(`${name}.key`), '-out', `${name}.pem`, '-subj', `/CN=${name}`, '-days', '2');
  const signed = ['-CA', `${name}.pem`, '-CAkey', `${name}.key`, '-days', '2', '-addext', `subjectAltName=DNS:${host}`];
  await openssl(
    'req',
    '-x509',
    ...key(`${name}-server.key`),
    '-out',
    `${name}-server.pem`,
    '-subj',
    '/CN=db',
    ...signed,
  );
}

/** What makes a Postgres without TLS one with it: it answers SSLRequest, and passes on what was encrypted. */
export async function startTlsDoor(databaseUrl: string, dir: string, name: string) {
  const [key, cert] = await Promise.all(['key', 'pem'].map((end) => readFile(join(dir, `${name}-server.${end}`))));
  const inside = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  const passOn = (a: Socket, b: Socket) => {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
      from.pipe(to);
    }
  };
  const door = createServer((client) => {
    client.on('error', () => {});
    client.once('data', () => {
      client.write('S');
      const secure = new TLSSocket(client, { isServer: true, key: key!, cert: cert! });
      passOn(secure, connect(Number(inside.port), inside.hostname));
    });
  });
  await once(door.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (door.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy();
      door.close();
      await once(door, 'close');
    },
  };
}
