import { DeploymentError } from '../../base/errors.ts';

const { default: sharp } = await import('sharp').catch((cause: unknown) => {
  throw new DeploymentError(
    'sharp',
    'sharp_missing',
    'sharp does not load on this machine: ' +
      'install the packages here, with optional dependencies, and start the worker again',
    { cause },
  );
});

/**
 * sharp, set up once for the whole process. Kinds import what imports this file at first use, so that a process that
 * makes no pictures never loads sharp.
 *
 * Only the formats that we accept can be opened: libvips would otherwise open a .v file or an SVG under any name.
 * https://sharp.pixelplumbing.com/api-utility/#block
 */
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: [
    'VipsForeignLoadJpeg',
    'VipsForeignLoadPng',
    'VipsForeignLoadWebp',
    'VipsForeignLoadNsgif',
    'VipsForeignLoadHeif',
    'VipsForeignLoadTiff',
  ],
});

/** No file is opened twice, so a cache would only take memory. */
sharp.cache(false);

/**
 * One thread a picture: as many pictures as there are cores run side by side, which is faster and takes less memory.
 */
sharp.concurrency(1);

export { sharp };
