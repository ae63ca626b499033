import { execFile } from 'node:child_process';
import { cp, mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { contextFiles, readStages, root, type Step } from './dockerfile.ts';

const run = promisify(execFile);

export interface ReplayedImage {
  /** The folder that stands for the image's working folder. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  /** Null where the image has none. */
  readonly healthcheck: readonly string[] | null;
}

/**
 * Does, without a container engine, what building `target` does: copies what COPY copies out of the build context and
 * runs what RUN runs, in folders below `work`. Steps that change other places than the working folder are left out.
 */
export async function replayImage(target: string, work: string): Promise<ReplayedImage> {
  const stages = readStages();
  const context = contextFiles();
  const built = new Map<string, ReplayedImage>();

  const build = async (name: string): Promise<ReplayedImage> => {
    const known = built.get(name);
    if (known) return known;
    const stage = stages.get(name);
    if (!stage) throw new Error(`no stage ${name}`);
    const parent = stages.has(stage.base) ? await build(stage.base) : null;
    const folder = join(work, name);
    await mkdir(folder, { recursive: true });
    if (parent) await cp(parent.folder, folder, { recursive: true, verbatimSymlinks: true });
    let image: ReplayedImage = { ...(parent ?? { env: {}, command: [], healthcheck: null }), folder };
    for (const step of stage.steps) image = await apply(step, image);
    built.set(name, image);
    return image;
  };

  const apply = async (step: Step, image: ReplayedImage): Promise<ReplayedImage> => {
    const { folder } = image;
    switch (step.keyword) {
      case 'ENV':
        return {
          ...image,
          env: { ...image.env, ...Object.fromEntries(step.args.map((pair) => pair.split('='))) },
        };
      case 'CMD':
        return { ...image, command: step.args };
      case 'HEALTHCHECK':
        return { ...image, healthcheck: JSON.parse(step.text.replace(/^CMD /, '')) };
      case 'COPY': {
        const to = step.args.at(-1) ?? '';
        if (step.from !== null) {
          const { folder: from } = await build(step.from);
          await cp(from, folder, { recursive: true, verbatimSymlinks: true });
          return image;
        }
        for (const source of step.args.slice(0, -1)) {
          for (const path of context) {
            if (path === source)
              await cp(join(root, path), join(folder, to, to.endsWith('/') ? basename(path) : ''));
            else if (path.startsWith(`${source}/`)) {
              await cp(join(root, path), join(folder, to, path.slice(source.length + 1)));
            }
          }
        }
        return image;
      }
      case 'RUN':
        if (!/ \/\w/.test(step.text))
          await run('sh', ['-ec', step.text], { cwd: folder, maxBuffer: 1 << 24 });
        return image;
      default:
        return image;
    }
  };
  return build(target);
}
