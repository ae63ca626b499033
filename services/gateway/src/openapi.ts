import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { type AnswerName, answers } from './api/answers.ts';
import { chatRequest } from './api/chat-request.ts';
import { completionRequest } from './api/completion-request.ts';
import {
  conversationRequest,
  conversationUpdate,
  includeQuery,
  itemsRequest,
} from './api/conversation-request.ts';
import { pageQuery } from './api/page-query.ts';
import { responseCreateFrame, responseRequest } from './api/response-request.ts';
import { resumeQuery, retrieveQuery } from './api/resume-query.ts';
import { type StreamEventName, streamEvents } from './api/stream-events.ts';
import { migrationRequest } from './routes/admin.ts';

interface Operation {
  readonly summary: string;
  /** The schema that its handler checks the body with. */
  readonly body?: z.ZodType;
  /** The schema that its handler checks the query with. */
  readonly query?: z.ZodType;
  /** What it answers where nothing is wrong; `text` for plain text, null for an upgrade. */
  readonly answer: AnswerName | 'text' | null;
  /** Default: 200. */
  readonly status?: number;
  /** Of what events the answer is a stream where the client wants one. */
  readonly streams?: StreamEventName;
  /** Needs no key. */
  readonly open?: true;
}

/** What this server answers, by method and path. */
export const operations: Readonly<Record<string, Operation>> = {
  'GET /v1/models': { summary: 'List the models that are served', answer: 'ModelList' },
  'GET /v1/models/{id}': { summary: 'Describe one model', answer: 'Model' },
  'POST /v1/chat/completions': {
    summary: 'Answer a conversation, at once or as an event stream',
    answer: 'ChatCompletion',
    body: chatRequest,
    streams: 'ChatCompletionChunk',
  },
  'POST /v1/completions': {
    summary: 'Go on with texts or token ids, or score them',
    answer: 'Completion',
    body: completionRequest,
    streams: 'CompletionChunk',
  },
  'POST /v1/responses': {
    summary: 'Create a response: at once, as an event stream, or in the background',
    answer: 'Response',
    body: responseRequest,
    streams: 'ResponseEvent',
  },
  'GET /v1/responses': {
    summary: 'Open a WebSocket for frames of the schema ResponseCreateFrame; the query resumes a response',
    answer: null,
    status: 101,
    query: resumeQuery,
  },
  'GET /v1/responses/{id}': {
    summary: 'Read a response, or resume its event stream after any event',
    answer: 'Response',
    query: retrieveQuery,
    streams: 'ResponseEvent',
  },
  'DELETE /v1/responses/{id}': {
    summary: 'Forget a response; one that runs is stopped',
    answer: 'ResponseDeleted',
  },
  'POST /v1/responses/{id}/cancel': { summary: 'Stop a response, wherever it is', answer: 'Response' },
  'GET /v1/responses/{id}/input_items': {
    summary: 'List what a response was asked with',
    answer: 'ItemList',
    query: pageQuery,
  },
  'POST /v1/conversations': {
    summary: 'Begin a conversation',
    answer: 'Conversation',
    body: conversationRequest,
  },
  'GET /v1/conversations/{id}': { summary: 'Read a conversation', answer: 'Conversation' },
  'POST /v1/conversations/{id}': {
    summary: "Replace a conversation's metadata",
    answer: 'Conversation',
    body: conversationUpdate,
  },
  'DELETE /v1/conversations/{id}': {
    summary: 'Forget a conversation; its responses stay',
    answer: 'ConversationDeleted',
  },
  'GET /v1/conversations/{id}/items': {
    summary: "List a conversation's items",
    answer: 'ItemList',
    query: pageQuery,
  },
  'POST /v1/conversations/{id}/items': {
    summary: 'Add items to a conversation',
    answer: 'ItemList',
    body: itemsRequest,
    query: includeQuery,
  },
  'GET /v1/conversations/{id}/items/{item}': {
    summary: 'Read one item',
    answer: 'Item',
    query: includeQuery,
  },
  'DELETE /v1/conversations/{id}/items/{item}': {
    summary: 'Take an item out of a conversation',
    answer: 'Conversation',
  },
  'GET /admin/workers': { summary: 'List workers and what they run', answer: 'WorkerList' },
  'POST /admin/workers/{id}/drain': {
    summary: 'Have a worker hand everything over and stop',
    answer: 'Drain',
    status: 202,
  },
  'POST /admin/generations/{id}/migrate': {
    summary: 'Move a running generation to another worker',
    answer: 'Migration',
    status: 202,
    body: migrationRequest,
  },
  'GET /metrics': { summary: "This gateway's metrics, for Prometheus", answer: 'text' },
  'GET /healthz': { summary: 'Whether the process is alive', answer: 'Health', open: true },
  'GET /readyz': { summary: 'Whether requests can be accepted now', answer: 'Readiness', open: true },
  'GET /openapi.json': { summary: 'This document', answer: 'OpenApi', open: true },
};

const errorSchema = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type', 'param', 'code'],
      properties: {
        message: { type: 'string' },
        type: { type: 'string' },
        param: { type: ['string', 'null'], description: 'Path of the field at fault' },
        code: { type: 'string' },
      },
    },
  },
};

/** The OpenAPI 3.2 document of this server, made from the schemas that check its requests. */
export function openApiDocument(): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [route, operation] of Object.entries(operations)) {
    const [method = '', path = ''] = route.split(' ');
    paths[path] = { ...paths[path], [method.toLowerCase()]: describe(path, operation) };
  }
  return {
    openapi: '3.2.0',
    info: {
      title: 'Baton',
      version: packageJson.version,
      description: 'An OpenAI-compatible API over Hymba models whose sessions outlive their machines.',
    },
    paths,
    components: {
      schemas: {
        ...Object.fromEntries(Object.entries(answers).map(([name, schema]) => [name, jsonSchema(schema)])),
        ...Object.fromEntries(
          Object.entries(streamEvents).map(([name, schema]) => [name, jsonSchema(schema)]),
        ),
        Error: errorSchema,
        ResponseCreateFrame: jsonSchema(responseCreateFrame),
      },
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
    },
    security: [{ key: [] }, {}],
  };
}

function describe(path: string, { summary, answer, status = 200, body, query, streams, open }: Operation) {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const parameters = [...inPath, ...queryParameters(query)];
  const key = { name: 'Idempotency-Key', in: 'header', schema: { type: 'string', maxLength: 255 } };
  return {
    summary,
    ...(open && { security: [] }),
    parameters: streams && body ? [...parameters, key] : parameters,
    ...(body && {
      requestBody: { required: true, content: { 'application/json': { schema: jsonSchema(body) } } },
    }),
    responses: {
      [status]: {
        description: STATUS_CODES[status] ?? '',
        ...(answer && {
          content:
            answer === 'text'
              ? { 'text/plain': { schema: { type: 'string' } } }
              : {
                  'application/json': { schema: schemaOf(answer) },
                  ...(streams && { 'text/event-stream': { itemSchema: eventSchema(streams) } }),
                },
        }),
      },
      default: {
        description: 'What was wrong, where, and what would be right',
        content: { 'application/json': { schema: schemaOf('Error') } },
      },
    },
  };
}

const schemaOf = (name: string) => ({ $ref: `#/components/schemas/${name}` });

/** One event: those of a response are named by their type, completions end with `[DONE]` where nothing went wrong. */
function eventSchema(name: StreamEventName) {
  const json = (contentSchema: object) => ({
    type: 'string',
    contentMediaType: 'application/json',
    contentSchema,
  });
  const data =
    name === 'ResponseEvent'
      ? json(schemaOf(name))
      : { anyOf: [json({ anyOf: [schemaOf(name), schemaOf('Error')] }), { const: '[DONE]' }] };
  const event = name === 'ResponseEvent' && { event: { type: 'string' } };
  return { type: 'object', required: ['data'], properties: { ...event, data } };
}

function queryParameters(query: z.ZodType | undefined): unknown[] {
  if (query === undefined) return [];
  const { properties = {}, required = [] } = jsonSchema(query);
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }));
}

function jsonSchema(schema: z.ZodType): z.core.JSONSchema.BaseSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return rest;
}
