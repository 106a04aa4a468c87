import assert from 'node:assert/strict';
import { sharp } from '../../worker/media/image/sharp.ts';
import { canary, canaryColour } from './attacks/materials.ts';

/** That a file which was made of an attack holds nothing of what is secret, in letters or as a picture. */
export async function holdsNothing(bytes: Buffer, name: string): Promise<void> {
  assert.ok(!bytes.includes(canary), `a secret came out in ${name}`);
  if (!/\.(png|jpe?g|webp|avif)$/.test(name) || bytes.length === 0) return;
  const { channels } = await sharp(bytes).stats();
  const [r, g, b] = channels.map(({ mean }) => mean);
  const distance = Math.hypot(r! - canaryColour.r, g! - canaryColour.g, b! - canaryColour.b);
  assert.ok(distance > 60, `a secret picture came out in ${name}`);
}
