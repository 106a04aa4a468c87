import { providers } from '../../app.ts';
import { loadConfig, settingsGiven, type Config } from '../../base/config/config.ts';
import { messageOf, UsageError } from '../../base/errors.ts';
import { redactor } from '../../base/log.ts';
import { channelNames, createSenders } from '../../providers/senders.ts';
import { findBinaries } from '../../embedded/binaries.ts';
import { hasEmbedded, withDatabaseUrl } from '../database.ts';
import { explain } from '../faults.ts';
import { checkBridges } from './bridges.ts';
import { fail, ok, warn, type Check } from './check.ts';
import { checkFfmpeg } from './ffmpeg.ts';
import { checkFleet } from './fleet.ts';
import { checkKinds, checkMemory, checkNode, checkPictures, checkTemp, checkWatermark, existing } from './host.ts';
import { checkPostgres } from './postgres.ts';
import { checkRabbitmq } from './rabbitmq.ts';
import { checkSeals } from './seals.ts';
import { checkHashKey, checkProvider, checkSender, checkStorage } from './services.ts';

/** All checks, one after another. A check is left out if something that it needs has failed. */
export async function* examine(): AsyncGenerator<Check> {
  yield checkNode();
  yield await checkPictures();

  let config: Config;
  try {
    config = loadConfig();
    yield ok('environment', `no faults; ${settingsGiven().join(', ') || 'nothing'} set`);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    yield fail('environment', error.message, 'correct these, then run this again: the rest could not be checked');
    return;
  }

  const redact = redactor(config.secrets);
  for await (const check of checksOf(config)) yield { ...check, detail: redact(check.detail) };
}

async function* checksOf(config: Config): AsyncGenerator<Check> {
  yield await checkTemp(config);
  yield checkMemory(config);
  yield await checkFfmpeg(config);
  if (config.watermark.path) yield await checkWatermark(config);
  if (config.jobsDir) yield await checkKinds(config.jobsDir);
  yield* await database(config);
  yield await checkStorage(config);
  const here = { ...config, tempDir: await existing(config.tempDir).catch(() => config.tempDir) };
  for (const create of Object.values(providers)) {
    const provider = create(here);
    if (provider) yield await checkProvider(provider);
  }
  yield* notifications(config);
  yield* checkBridges(config);
}

/** Of what is configured. Without a provider, development has its outbox. */
async function* notifications(config: Config): AsyncGenerator<Check> {
  let any = false;
  for (const channel of channelNames)
    for (const sender of createSenders(channel, config).filter(({ name, check }) => check && name !== 'outbox')) {
      any = true;
      yield await checkSender(channel, sender);
      await sender.close?.();
    }
  if (any) yield checkHashKey(config);
}

async function database(config: Config): Promise<Check[]> {
  const name = 'Postgres';
  try {
    if (!config.databaseUrl && !config.production && !(await hasEmbedded(config))) {
      await findBinaries();
      const detail = `DATABASE_URL is not set, and there is no embedded database in ${config.dataDir} yet`;
      return [warn(name, detail, 'rowmill migrate or rowmill start creates it; for production set DATABASE_URL')];
    }
    return await withDatabaseUrl(config, async (url) => {
      const { checks, usable } = await checkPostgres(url, config.connections.most);
      if (!usable) return checks;
      return [...checks, ...(await checkFleet(url, config.queues)), ...(await ofKinds(url, config))];
    });
  } catch (error) {
    return [fail(name, explain(error) ?? messageOf(error), 'set DATABASE_URL')];
  }
}

/** Without the kinds, it is not known what is sensitive, or a routing key: `own kinds` says why they do not load. */
async function ofKinds(url: string, config: Config): Promise<Check[]> {
  const { loadRegistry } = await import('../../queue/registry.ts');
  const registry = await loadRegistry(config.jobsDir).catch(() => undefined);
  if (!registry) return [];
  const sealed = await checkSeals(url, registry, config);
  return [sealed, ...(config.rabbitmq ? await checkRabbitmq(url, registry, config.rabbitmq) : [])];
}
