import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../base/config/config.ts';
import { DeploymentError, PermanentError, RetryableError } from '../base/errors.ts';
import { download } from '../base/http/fetch.ts';
import { withTempDir } from '../base/temp.ts';
import type { Size } from '../media/ffmpeg/filters.ts';
import { sniffImage } from '../media/image/sniff.ts';
import type { Provider } from './provider.ts';

/** imagorvideo, a server that extracts frames from videos. https://github.com/cshum/imagorvideo */
export type ImagorVideo = Provider & {
  /**
   * Takes the most telling frame from the beginning of a video, as a new PNG file at `to`: upright, within `box`, not
   * enlarged.
   * @param source an address from which imagorvideo can fetch the video. Anybody who has it can, so it is in no message
   * @throws RetryableError `imagorvideo_failed`, `imagorvideo_bad_answer`; what `download` in base/http/fetch.ts
   *   throws, with codes that start with `imagorvideo_`
   */
  takeFrame(source: string, to: string, options: { box: Size; signal: AbortSignal }): Promise<void>;
};

const service = {
  dependency: 'imagorvideo',
  code: 'imagorvideo',
  name: 'imagorvideo',
  settings: {
    address: 'IMAGORVIDEO_URL',
    secret: 'that it runs with -imagor-unsafe and may read the storage',
    limit: 'the most that is read',
    timeout: 'the most that is waited',
  },
  statuses: {
    // With a picture of one pixel: its answer for a file that it cannot read, and if its own disk is full.
    // https://github.com/cshum/imagorvideo/blob/master/processor.go
    406: (said: string) =>
      new RetryableError('imagorvideo_failed', `${said}: it could not make a picture of the video`),
  },
};

/** Twice its own default time limit. https://github.com/cshum/imagor#configuration */
const timeoutMs = 60_000;
const maxBytes = 100_000_000;

/** @returns undefined if none is configured. Its address may end with `/unsafe` */
export function createImagorVideo(
  { imagorVideoUrl: base, tempDir }: Pick<Config, 'imagorVideoUrl' | 'tempDir'>,
  limits: { timeoutMs?: number } = {},
): ImagorVideo | undefined {
  if (!base) return undefined;
  const takeFrame: ImagorVideo['takeFrame'] = async (source, to, { box, signal }) => {
    await download(addressOf(base, source, box), { service, to, maxBytes, timeoutMs, ...limits, signal });
    try {
      await checkPng(to);
    } catch (error) {
      await rm(to, { force: true });
      throw error;
    }
  };
  return {
    service,
    address: base,
    takeFrame,
    /** Requests a frame of a video that certainly does not exist: the answer shows whether we are authorized. */
    async check({ signal }) {
      const box = { width: 1, height: 1 };
      await withTempDir(tempDir, async (dir) => {
        await takeFrame('rowmill-doctor/none', join(dir, 'none'), { box, signal }).catch((error: unknown) => {
          signal.throwIfAborted();
          if (error instanceof DeploymentError) throw error;
        });
      });
    },
  };
}

/** The source is one path segment, because it has a query of its own. https://github.com/cshum/imagor#image-endpoint */
function addressOf(base: string, source: string, { width, height }: Size): URL {
  const unsafe = base.endsWith('/unsafe') ? base : `${base}/unsafe`;
  return new URL(`${unsafe}/fit-in/${width}x${height}/filters:format(png)/${encodeURIComponent(source)}`);
}

async function checkPng(path: string): Promise<void> {
  const format = await sniffImage(path).catch((error: unknown) => {
    if (error instanceof PermanentError) return undefined;
    throw error;
  });
  if (format !== 'png')
    throw new RetryableError('imagorvideo_bad_answer', `imagorvideo sent no PNG: check ${service.settings.address}`);
}
