import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ignore from '@balena/dockerignore';
import { type Copy, DockerfileParser, type From, type JSONInstruction } from 'dockerfile-ast';

export const root = fileURLToPath(new URL('../../', import.meta.url));
export const dockerfileText = readFileSync(join(root, 'infra/images/Dockerfile'), 'utf8');

export interface Step {
  readonly keyword: string;
  /** Without flags; the words of a JSON array where it is one. */
  readonly args: readonly string[];
  /** Everything behind the keyword and its flags, as written. */
  readonly text: string;
  /** The stage that COPY takes from; null for the build context. */
  readonly from: string | null;
}

export interface Stage {
  readonly name: string;
  /** Another stage, or an image of a registry. */
  readonly base: string;
  readonly steps: readonly Step[];
}

/** The Dockerfile's stages, by name, in order. */
export function readStages(): Map<string, Stage> {
  const stages = new Map<string, Stage & { steps: Step[] }>();
  let current: (Stage & { steps: Step[] }) | undefined;
  for (const instruction of DockerfileParser.parse(dockerfileText).getInstructions()) {
    const keyword = instruction.getKeyword();
    if (keyword === 'FROM') {
      const from = instruction as From;
      const name = from.getBuildStage() ?? '';
      current = { name, base: from.getImage() ?? '', steps: [] };
      stages.set(name, current);
      continue;
    }
    const words = instruction.getArguments().map((argument) => argument.getValue());
    const json = (instruction as Partial<JSONInstruction>).getJSONStrings?.() ?? [];
    current?.steps.push({
      keyword,
      args: json.length > 0 ? json.map((word) => word.getJSONValue()) : words,
      text: words.join(' '),
      from: keyword === 'COPY' ? ((instruction as Copy).getFromFlag()?.getValue() ?? null) : null,
    });
  }
  return stages;
}

/** Paths of the build context's files, relative to the project: what .dockerignore lets through. */
export function contextFiles(): string[] {
  const rules = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
  const ignored = ignore.default().add(rules.filter((rule) => rule.trim() !== ''));
  // Not even looked into: nothing that .dockerignore lets through is there, and there is much of it.
  const skipped = new Set(['node_modules', '.git', '.baton', '.turbo']);
  const files: string[] = [];
  const visit = (folder: string) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && !skipped.has(entry.name)) visit(path);
      else if (entry.isFile() && !ignored.ignores(path)) files.push(path);
    }
  };
  visit('');
  return files;
}
