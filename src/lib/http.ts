/**
 * HTTP/1 of Node without what an `import` of it loads besides: that reads every export, and one of them, WebSocket, is
 * all of undici. It costs a process 60 ms of processor time, so nothing else of ours imports `node:http`, types apart.
 */
const http = process.getBuiltinModule('node:http');

export const { createServer, request, ServerResponse, STATUS_CODES } = http;
export type ServerResponse = import('node:http').ServerResponse;
