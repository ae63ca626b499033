import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One run of one GPU program. */
export interface ProgramRun {
  readonly kind: string;
  readonly ms: number;
}

/** What ONNX Runtime writes into a profile. */
interface ProfileEvent {
  readonly cat?: string;
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
}

/** The GPU programs of the profile in `folder` whose name begins with `prefix`, in their order. */
export async function readProfile(folder: string, prefix: string): Promise<ProgramRun[]> {
  const file = (await readdir(folder)).find((name) => name.startsWith(prefix));
  if (file === undefined) throw new Error(`there is no profile ${prefix} in ${folder}`);
  const events = JSON.parse(await readFile(join(folder, file), 'utf8')) as ProfileEvent[];
  return events
    .filter(({ cat }) => cat === 'Api')
    .map(({ name, dur }) => ({ kind: name.split('&').at(-1) ?? name, ms: dur / 1000 }));
}
