export { float, graph, int, ints, text } from './attributes.ts';
export {
  type Dimension,
  type ElementType,
  type ExternalTensor,
  GraphBuilder,
  type Value,
} from './graph-builder.ts';
