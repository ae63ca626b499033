export { float, graph, int, ints, text } from './attributes.ts';
export { type ExternalTensor, GraphBuilder, type Value } from './graph-builder.ts';
