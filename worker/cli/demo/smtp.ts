import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export type Mail = { to: string; source: string };

/** A stand-in for an SMTP server on loopback: it takes each mail, and sends it nowhere. */
export async function startSmtp(take: (mail: Mail) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    converse(socket, take).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    url: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** https://www.rfc-editor.org/rfc/rfc5321#appendix-D */
async function converse(socket: Socket, take: (mail: Mail) => void): Promise<void> {
  const say = (line: string) => socket.write(`${line}\r\n`);
  let to = '';
  let source: string[] | undefined;
  say('220 stand-in');
  for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
    if (source && line !== '.') source.push(line.replace(/^\./, ''));
    else if (source) {
      take({ to, source: source.join('\r\n') });
      source = undefined;
      say('250 taken');
    } else if (/^DATA$/i.test(line)) {
      source = [];
      say('354 go on');
    } else if (/^QUIT$/i.test(line)) {
      say('221 bye');
      socket.end();
    } else {
      to = /^RCPT TO:<([^>]*)>/i.exec(line)?.[1] ?? to;
      say('250 ok');
    }
  }
}

export const subjectOf = ({ source }: Mail) => /^Subject: (.*)$/im.exec(source)?.[1] ?? '';

/** What a mail program shows. */
export function htmlOf({ source }: Mail): string | undefined {
  const [, boundary] = /boundary="([^"]+)"/.exec(source) ?? [];
  const part = boundary && source.split(`--${boundary}`).find((each) => /^Content-Type: text\/html/im.test(each));
  if (!part) return undefined;
  const coded = part.slice(part.indexOf('\r\n\r\n') + 4);
  const bytes = coded
    .replaceAll('=\r\n', '')
    .replaceAll(/=([\dA-F]{2})/g, (_, hex) => String.fromCharCode(Number(`0x${hex}`)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
