import { existsSync } from 'node:fs';
import { defineConfig, mergeConfig } from 'vitest/config';
import base from '../../infra/vitest.base.ts';

/** SwiftShader, a Vulkan driver in software that Debian's chromium-common brings: WebGPU's graphs run without a GPU. */
const driver = '/usr/lib/chromium/vk_swiftshader_icd.json';
const env = existsSync(driver) ? { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver } : {};

export default mergeConfig(base, defineConfig({ test: { env } }));
