import { createLog } from '../../worker/base/log.ts';

export const silent = createLog({ logLevel: process.env['TEST_LOG'] === 'on' ? 'debug' : 'silent', secrets: [] });
