/** What V8 writes of one thread; times are microseconds of the machine's monotonic clock. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/**
 * Milliseconds from `fromUs` on by who spent them, idle ones left out. A sample is counted for the nearest file on its stack, so
 * that what OpenTelemetry has the engine's and Node's builtins do is OpenTelemetry's.
 */
export function timesByOwner(profiles: readonly CpuProfile[], fromUs: number): Map<string, number> {
  const times = new Map<string, number>();
  for (const profile of profiles) {
    const ownerOf = ownersOf(profile);
    let at = profile.startTime;
    profile.samples.forEach((node, i) => {
      const delta = profile.timeDeltas[i] ?? 0;
      at += delta;
      const owner = ownerOf(node);
      if (at >= fromUs && owner !== '(idle)') times.set(owner, (times.get(owner) ?? 0) + delta / 1000);
    });
  }
  return times;
}

function ownersOf({ nodes }: CpuProfile): (node: number) => string {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const owners = new Map<number, string>();
  const ownerOf = (id: number): string => {
    const known = owners.get(id);
    if (known !== undefined) return known;
    const { url, functionName } = byId.get(id)?.callFrame ?? { url: '', functionName: '' };
    const parent = parents.get(id);
    const isBuiltin = url === '' || url.startsWith('node:');
    const isWhole = functionName.startsWith('(');
    const owner = !isBuiltin ? nameOf(url) : isWhole || parent === undefined ? functionName : ownerOf(parent);
    owners.set(id, owner === '(root)' ? 'Node alone' : owner);
    return owners.get(id) ?? '';
  };
  return ownerOf;
}

/** A package, `OpenTelemetry` for all of its packages and this project's one around them. */
function nameOf(url: string): string {
  if (url.includes('/node_modules/@opentelemetry/') || url.includes('/packages/telemetry/'))
    return 'OpenTelemetry';
  const [, installed] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url) ?? [];
  const [, own] = /.*\/((?:packages|services)\/[^/]+)\//.exec(url) ?? [];
  return installed ?? own ?? url;
}
