import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { allocatorEnv } from '@baton/engine/allocator-env';
import { variables } from '@baton/environment';
import { validate } from 'dockerfile-utils';
import { describe, expect, it } from 'vitest';
import { contextFiles, dockerfileText, readStages, root } from './dockerfile.ts';

const stages = readStages();
const context = contextFiles();

/** Context paths that end up in the image of `target` below its working folder. */
function filesOf(target: string): Set<string> {
  const files = new Set<string>();
  for (let stage = stages.get(target); stage; stage = stages.get(stage.base)) {
    for (const step of stage.steps.filter(({ keyword, from }) => keyword === 'COPY' && from === null)) {
      for (const source of step.args.slice(0, -1)) {
        for (const file of context.filter((path) => path === source || path.startsWith(`${source}/`)))
          files.add(file);
      }
    }
  }
  return files;
}

describe('.dockerignore', () => {
  it('lets in what the images need and nothing else', () => {
    expect(context).toContain('packages/hymba/models/hymba-stories-22m/model.safetensors');
    expect(context).toContain('package-lock.json');
    expect(
      context.filter((path) => /\.test\.ts$|node_modules|\/fixtures\/|^\.env|^\.git/.test(path)),
    ).toEqual([]);
    expect([...new Set(context.map((path) => path.split('/')[0]))].toSorted()).toEqual([
      '.npmrc',
      'package-lock.json',
      'package.json',
      'packages',
      'services',
      'test',
    ]);
  });
});

describe('Dockerfile', () => {
  it('is valid', () => {
    expect(validate(dockerfileText).map(({ message }) => message)).toEqual([]);
  });

  it('runs the Node that the project pins', () => {
    const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(stages.get('base')?.base).toMatch(new RegExp(`^node:${devDependencies.node}-\\w+-slim$`));
  });

  it('copies only what is there', () => {
    for (const stage of stages.values()) {
      for (const step of stage.steps.filter(({ keyword }) => keyword === 'COPY')) {
        if (step.from !== null) {
          expect([...stages.keys()], `${stage.name}: --from`).toContain(step.from);
          continue;
        }
        for (const source of step.args.slice(0, -1)) {
          const found = context.some((path) => path === source || path.startsWith(`${source}/`));
          expect(found, `${stage.name}: ${source}`).toBe(true);
        }
      }
    }
  });

  it('installs workspaces that exist', () => {
    const installed = [...dockerfileText.matchAll(/--workspace=(\S+)/g)].map(([, name]) => name);
    expect(installed).toEqual(['@baton/gateway', '@baton/worker']);
    for (const name of installed) {
      const folder = `services/${name?.split('/')[1]}`;
      expect(JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')).name).toBe(name);
    }
  });

  it.each(['gateway', 'worker'])(
    'starts a file that is in the image of the %s, as an ordinary user',
    (target) => {
      const chain = [];
      for (let stage = stages.get(target); stage; stage = stages.get(stage.base))
        chain.unshift(...stage.steps);
      const command = chain.findLast(({ keyword }) => keyword === 'CMD')?.args ?? [];
      expect(command[0]).toBe('node');
      expect(filesOf(target)).toContain(command[1]);
      expect(chain.findLast(({ keyword }) => keyword === 'USER')?.args).toEqual(['node']);
    },
  );

  it("has the worker's allocator keep its memory", () => {
    const set = stages.get('worker')?.steps.filter(({ keyword }) => keyword === 'ENV') ?? [];
    const values = Object.entries(allocatorEnv).map(([name, value]) => `${name}=${value}`);
    expect(set.flatMap(({ args }) => args)).toEqual(values);
  });

  it('sets only variables that Baton knows', () => {
    const set = [...dockerfileText.matchAll(/\bBATON_\w+/g)].map(([name]) => name);
    expect(set.length).toBeGreaterThan(0);
    for (const name of set) expect(Object.keys(variables)).toContain(name);
  });
});
