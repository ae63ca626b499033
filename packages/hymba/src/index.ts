export { type HymbaConfig, type KvCacheSpec, parseConfig, readConfig } from './config.ts';
export { type ConvertOptions, convert } from './convert.ts';
export { type ConvertedModel, openModel } from './converted-model.ts';
export { type GraphMode, graphFiles, graphNames, maskedBias } from './graphs/contract.ts';
export { Checkpoint } from './safetensors/checkpoint.ts';
export { type TensorSource, writeSafetensors } from './safetensors/write.ts';
export type { WriteProgress } from './weights/write-weights.ts';
