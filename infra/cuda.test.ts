import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Stands in for the network: says what is asked for first, and ends. */
const offline = `
  import https from 'node:https';
  https.get = (url) => {
    console.log('fetches ' + url);
    process.exit();
  };`;

/** ONNX Runtime's script ends without a word, and without an error, where it does not take to the flag that it is given. */
it.runIf(process.platform === 'linux' && process.arch === 'x64')(
  '`npm run cuda` goes on to fetch the files for CUDA',
  async () => {
    const { stdout } = await promisify(execFile)('npm', ['run', 'cuda'], {
      cwd: root,
      env: {
        ...process.env,
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(offline)}`,
      },
    });
    expect(stdout).toContain('fetches https://api.nuget.org/');
  },
);
