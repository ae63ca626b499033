/**
 * The codec's hot loops, in AssemblyScript: `npm run build` compiles them to `kernels.wasm`. Pointers are byte offsets into
 * the module's memory, which the caller lays out; any length is right, multiples of 16 are fast.
 */
export { dequantiseColumns, dequantiseRows, dequantiseWide, quantiseColumns, quantiseRows, quantiseWide } from './quantise';
export { fromHalves, toHalves } from './halves';
export { fromPlanes, toPlanes } from './planes';
export { rotate } from './rotate';
