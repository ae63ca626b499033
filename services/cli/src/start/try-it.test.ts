import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { tryIt } from './try-it.ts';

it('gives one-line commands that a shell reads as they are meant, whatever the model is called', () => {
  const name = `Jim's "model"`;
  const commands = tryIt('http://127.0.0.1:8080', name);
  const seen = commands.map((command) => {
    expect(command).not.toContain('\n');
    // The shell shows the program's arguments instead of running it.
    const [program, ...args] = command.split(' ');
    expect(['curl', 'node']).toContain(program);
    return execFileSync('sh', ['-c', `printf '%s\\n' ${args.join(' ')}`], { encoding: 'utf8' })
      .trim()
      .split('\n');
  });
  expect(JSON.parse(seen[0]?.at(-1) ?? '')).toMatchObject({ model: name, stream: true });
  for (const program of seen.slice(1).map((args) => args.at(-1) ?? '')) {
    expect(program).toContain(JSON.stringify(name).slice(1, -1));
    execFileSync(process.execPath, ['--input-type=module', '--check', '-'], { input: program });
  }
});
