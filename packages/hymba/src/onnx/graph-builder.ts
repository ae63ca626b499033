import { create, toBinary } from '@bufbuild/protobuf';
import {
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '../generated/onnx_pb.ts';
import { type Attribute, attributeProto, int } from './attributes.ts';

/** The name of a tensor in the graph. */
export type Value = string;
export type ElementType = keyof typeof dataTypes;
/** A size, or the name of one that is known when the graph runs. */
export type Dimension = number | string;

/** A tensor whose bytes lie in a file beside the model. */
export interface ExternalTensor {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

const dataTypes = {
  float32: TensorProto_DataType.FLOAT,
  float16: TensorProto_DataType.FLOAT16,
  uint8: TensorProto_DataType.UINT8,
  int8: TensorProto_DataType.INT8,
  int32: TensorProto_DataType.INT32,
  int64: TensorProto_DataType.INT64,
} as const;

/** The ai.onnx operator set that graphs are written for, and the file format version that goes with it. */
const opset = 21n;
const irVersion = 10n;

/** Builds one ONNX graph, node by node. Operators outside ai.onnx are named with their domain: `com.microsoft.FusedMatMul`. */
export class GraphBuilder {
  readonly #name: string;
  readonly #nodes: NodeProto[] = [];
  readonly #initializers = new Map<string, TensorProto>();
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];

  /** `name` also begins the names of all intermediate values, so that a subgraph's do not hide its parent's. */
  constructor(name: string) {
    this.#name = name;
  }

  input(name: string, type: ElementType, dims: readonly Dimension[]): Value {
    this.#inputs.push(valueInfo(name, type, dims));
    return name;
  }

  /** Declares that the value called `name` is an output of the graph. */
  output(name: Value, type: ElementType, dims: readonly Dimension[]): void {
    this.#outputs.push(valueInfo(name, type, dims));
  }

  /** Adds a node that writes the values called `outputs`. */
  node(
    operator: string,
    inputs: readonly Value[],
    outputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): void {
    const dot = operator.lastIndexOf('.');
    this.#nodes.push(
      create(NodeProtoSchema, {
        name: `${this.#name}_${this.#nodes.length}`,
        opType: operator.slice(dot + 1),
        domain: operator.slice(0, Math.max(dot, 0)),
        input: [...inputs],
        output: [...outputs],
        attribute: Object.entries(attributes).map(([name, value]) => attributeProto(name, value)),
      }),
    );
  }

  /** Adds a node with one output and gives its value. */
  op(
    operator: string,
    inputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value {
    const [output] = this.#fresh(1);
    this.node(operator, inputs, [output], attributes);
    return output;
  }

  cast(value: Value, type: ElementType): Value {
    return this.op('Cast', [value], { to: int(dataTypes[type]) });
  }

  /** Cuts the last axis into pieces of the given sizes. */
  split<const Sizes extends readonly number[]>(value: Value, sizes: Sizes): { [K in keyof Sizes]: Value } {
    return this.#split(value, this.int64s(sizes), sizes.length) as { [K in keyof Sizes]: Value };
  }

  /** Cuts the last axis in two, of sizes that are known when the graph runs. */
  splitAt(value: Value, sizes: Value): [Value, Value] {
    return this.#split(value, sizes, 2) as [Value, Value];
  }

  /** A constant vector of whole numbers, such as a shape. */
  int64s(values: readonly number[]): Value {
    return this.#constant('int64', [values.length], values, BigInt64Array.from(values, BigInt));
  }

  /** A constant scalar. */
  float32(value: number): Value {
    return this.#constant('float32', [], [value], Float32Array.of(value));
  }

  /** A constant scalar. */
  uint8(value: number): Value {
    return this.#constant('uint8', [], [value], Uint8Array.of(value));
  }

  /** A weight in a file beside the model; naming it twice adds it once. */
  external({ name, type, dims, file, offset, bytes }: ExternalTensor): Value {
    const externalData = Object.entries({ location: file, offset, length: bytes }).map(([key, value]) => ({
      key,
      value: String(value),
    }));
    const dataLocation = TensorProto_DataLocation.EXTERNAL;
    this.#initializers.set(
      name,
      create(TensorProtoSchema, {
        name,
        dataType: dataTypes[type],
        dims: dims.map(BigInt),
        dataLocation,
        externalData,
      }),
    );
    return name;
  }

  /** The graph by itself, as the body of a control-flow operator. */
  graph(): GraphProto {
    return create(GraphProtoSchema, {
      name: this.#name,
      node: this.#nodes,
      initializer: [...this.#initializers.values()],
      input: this.#inputs,
      output: this.#outputs,
    });
  }

  /** The bytes of an ONNX file. */
  model(): Uint8Array {
    return toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, {
        irVersion,
        producerName: 'baton',
        opsetImport: [
          { domain: '', version: opset },
          { domain: 'com.microsoft', version: 1n },
        ],
        graph: this.graph(),
      }),
    );
  }

  #split(value: Value, sizes: Value, count: number): Value[] {
    const outputs = this.#fresh(count);
    this.node('Split', [value, sizes], outputs, { axis: int(-1) });
    return outputs;
  }

  #constant(
    type: ElementType,
    dims: readonly number[],
    values: readonly number[],
    data: BigInt64Array | Float32Array | Uint8Array,
  ): Value {
    const name = `${this.#name}_${type}[${dims}](${values})`;
    if (!this.#initializers.has(name)) {
      const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      this.#initializers.set(
        name,
        create(TensorProtoSchema, { name, dataType: dataTypes[type], dims: dims.map(BigInt), rawData }),
      );
    }
    return name;
  }

  /** Names for the outputs of the node to come, which no other node has. */
  #fresh(count: 1): [Value];
  #fresh(count: number): Value[];
  #fresh(count: number): Value[] {
    return Array.from({ length: count }, (_, i) => `${this.#name}_${this.#nodes.length}.${i}`);
  }
}

function valueInfo(name: string, type: ElementType, dims: readonly Dimension[]): ValueInfoProto {
  const dim = dims.map((size) => ({
    value:
      typeof size === 'number'
        ? ({ case: 'dimValue', value: BigInt(size) } as const)
        : ({ case: 'dimParam', value: size } as const),
  }));
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType: dataTypes[type], shape: { dim } } } },
  });
}
