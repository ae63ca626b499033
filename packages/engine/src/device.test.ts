import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ConfigurationError } from '@baton/errors';
import { describe, expect, it } from 'vitest';
import { deviceProblem, findDevice } from './device.ts';

const run = promisify(execFile);

describe('a device', () => {
  it('is found where it works', async () => {
    expect(await deviceProblem('cpu')).toBeNull();
    expect(await findDevice('cpu')).toBe('cpu');
    const missing = await deviceProblem('webgpu');
    if (missing === null) expect(await findDevice('webgpu')).toBe('webgpu');
    else await expect(findDevice('webgpu')).rejects.toThrow(ConfigurationError);
  });

  // Tests of WebGPU are skipped where it does not work: without this one nobody would notice that it no longer does.
  it.runIf(process.env['VK_DRIVER_FILES'])('is WebGPU where there is a driver', async () => {
    expect(await deviceProblem('webgpu')).toBeNull();
  });

  it('chosen by itself is one that works', async () => {
    const device = await findDevice('auto');
    expect(device).toBeOneOf(['cpu', 'cuda']);
    expect(await deviceProblem(device)).toBeNull();
  });

  it.runIf(process.platform === 'linux')('that is not there is refused with what it needs', async () => {
    const script = `
      import { findDevice } from ${JSON.stringify(import.meta.resolve('./device.ts'))};
      for (const device of ['webgpu', 'cuda'])
        await findDevice(device).catch(({ code, message }) => console.log(JSON.stringify({ code, message })));`;
    const hidden = { VK_DRIVER_FILES: '/nowhere', VK_ICD_FILENAMES: '/nowhere', CUDA_VISIBLE_DEVICES: '' };
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], {
      env: { ...process.env, ...hidden },
    });
    const refusals = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(refusals).toHaveLength(2);
    for (const [index, words] of [
      ['BATON_DEVICE is webgpu', 'Vulkan', 'BATON_DEVICE=cpu'],
      ['BATON_DEVICE is cuda', 'npm run cuda', 'BATON_DEVICE=cpu'],
    ].entries()) {
      expect(refusals[index].code).toBe('invalid_configuration');
      for (const word of words) expect(refusals[index].message).toContain(word);
    }
  });
});
