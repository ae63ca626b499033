export { type HymbaConfig, type KvCacheSpec, parseConfig, readConfig } from './config.ts';
export { type ConvertOptions, convert } from './convert.ts';
export { type ConvertedModel, openModel } from './converted-model.ts';
export { embeddedModel } from './embedded-model.ts';
export { ensureConverted, isConverted } from './ensure-converted.ts';
export { type GraphMode, graphFiles, graphNames, maskedBias } from './graphs/contract.ts';
export { linearsGraph, linearsNames } from './graphs/linears.ts';
export { buildFloat16Probe, buildProbe } from './graphs/probe.ts';
export {
  buildFill,
  buildPad,
  buildStateReader,
  buildStateWriter,
  heldByNone,
  moveNames,
  type WebGpuState,
  webGpuStates,
} from './graphs/webgpu/states.ts';
export { type KvCacheForm, kvCacheForms } from './kv-cache-form.ts';
export { type RandomCheckpointOptions, writeRandomCheckpoint } from './random-checkpoint.ts';
export { type ReferenceName, referenceConfig, referenceNames } from './reference-configs.ts';
export { Checkpoint } from './safetensors/checkpoint.ts';
export { type TensorSource, writeSafetensors } from './safetensors/write.ts';
export { type WeightForm, weightForms } from './weights/forms.ts';
export type { WriteProgress } from './weights/write-weights.ts';
