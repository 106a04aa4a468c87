import { extname, posix } from 'node:path';
import { setImmediate } from 'node:timers/promises';

/** How files name other files: playlists, manifests that list their segments, and storyboards. */
const placesOfNames: Record<string, RegExp> = {
  '.m3u8': /^[^#\n]+$|(?<=URI=")[^"]+/gm,
  '.mpd': /(?<=(?:media|sourceURL)=")[^"]+/g,
  '.vtt': /^[^#\n]+(?=#xywh=)/gm,
};

/** Whether a file of this name names others. */
export const namesOthers = (name: string): boolean => extname(name) in placesOfNames;

/**
 * The text of a file that names others by paths, with their addresses instead.
 * @param addressOf the address for a name in the same folder as `name`, such as `720p/00000.m4s`
 */
export async function withAddresses(
  name: string,
  text: string,
  addressOf: (name: string) => Promise<string>,
): Promise<string> {
  const places = placesOfNames[extname(name)]!;
  const addresses = new Map<string, string>();
  for (const path of new Set(text.match(places))) {
    const address = await addressOf(posix.join(posix.dirname(name), path));
    addresses.set(path, extname(name) === '.mpd' ? address.replaceAll('&', '&amp;') : address);
    // There may be thousands, each a millisecond of computing, and the process has other work.
    await setImmediate();
  }
  return text.replace(places, (path) => addresses.get(path)!);
}
