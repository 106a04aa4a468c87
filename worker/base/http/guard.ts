import dns from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { PermanentError } from '../errors.ts';

/**
 * Keeps a request to an address that somebody else chose, such as a webhook, out of networks that are not public: of
 * this machine, of its neighbours, of the cloud it runs in.
 *
 * The host may be an IP address, for which Node calls no `lookup`: `check` judges it as the URL parser wrote it, so
 * `http://2130706433` and `http://0x7f.1` are 127.0.0.1. A name is judged when the connection is made, and the
 * connection goes to the addresses that were judged: a name server that gives another answer the next time changes
 * nothing. https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
 */
export type Guard = {
  /** @throws PermanentError `address_refused` */
  check(url: URL): void;
  /** Resolves a name. Its error is a PermanentError `address_refused` if one of the addresses is not allowed. */
  lookup: LookupFunction;
};

type Resolve = (
  name: string,
  options: dns.LookupAllOptions,
  done: (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void,
) => void;

/**
 * @param allow networks that may be reached although they are not public, such as `10.1.0.0/16`
 * @param resolve in place of the system's resolver
 */
export function createGuard({
  allow = [],
  httpsOnly,
  resolve = dns.lookup,
}: {
  allow?: string[];
  httpsOnly: boolean;
  resolve?: Resolve;
}): Guard {
  const exceptions = listOf(allow);
  const isAllowed = (scoped: string) => {
    const address = scoped.replace(/%.*/, '');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    return isPublic(address, family) || exceptions.check(address, family);
  };
  return {
    check({ protocol, username, password, hostname }) {
      if (protocol !== 'https:' && (httpsOnly || protocol !== 'http:'))
        throw refused(httpsOnly ? 'it does not begin with https://' : 'it begins with neither https:// nor http://');
      if (username || password) throw refused('it has a user name or a password');
      const host = hostname.replace(/^\[(.*)\]$/, '$1');
      if (isIP(host) && !isAllowed(host)) throw notPublic();
    },
    lookup(name, options, done) {
      resolve(name, { ...options, all: true }, (error, addresses) => {
        if (error) return done(error, []);
        const [first] = addresses;
        if (!first || !addresses.every(({ address }) => isAllowed(address))) return done(notPublic(), []);
        if (options.all) done(null, addresses);
        else done(null, first.address, first.family);
      });
    },
  };
}

const refused = (why: string) => new PermanentError('address_refused', `The address cannot be written to: ${why}`);
const notPublic = () => refused('it is in a network that is not public');

/** @param networks IP addresses, each with or without the length of a prefix */
function listOf(networks: string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    list.addSubnet(address, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family);
  }
  return list;
}

/**
 * Not to be reached from everywhere: https://www.iana.org/assignments/iana-ipv4-special-registry and
 * https://www.iana.org/assignments/iana-ipv6-special-registry. 168.63.129.16 is Azure's server for its machines.
 */
const special = listOf([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Teredo and other tunnels, documentation, 6to4.
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
]);

/** Other addresses of IPv6 are local, or have one of IPv4 inside, as `::ffff:127.0.0.1` and `64:ff9b::7f00:1` do. */
const global = listOf(['2000::/3']);

const isPublic = (address: string, family: 'ipv4' | 'ipv6') =>
  (family === 'ipv4' || global.check(address, family)) && !special.check(address, family);
