export { float, graph, int, ints, text } from './attributes.ts';
export { type Dimension, type ExternalTensor, GraphBuilder, type Value } from './graph-builder.ts';
