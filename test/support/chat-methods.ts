/** What chat.ts is asked by gRPC; messages are text. */
import type { MethodDefinition } from '@grpc/grpc-js';

const method = (name: string, streams: boolean): MethodDefinition<string, string> => ({
  path: `/shop.Chat/${name}`,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: text => Buffer.from(text),
  requestDeserialize: bytes => bytes.toString(),
  responseSerialize: text => Buffer.from(text),
  responseDeserialize: bytes => bytes.toString(),
});

export const chatMethods = { ask: method('Ask', false), chat: method('Chat', true) };
