import { resolve } from 'node:path';

/** The folder of hymba-stories-22m, the checkpoint that is served where no other is asked for. */
export const embeddedModel: string = resolve(import.meta.dirname, '../models/hymba-stories-22m');
