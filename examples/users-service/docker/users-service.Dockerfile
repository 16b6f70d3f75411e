# Not needed for Offshoot on one machine, which runs the service from its folder (see offshoot.yaml).
# Build from the example's folder: docker build -f docker/users-service.Dockerfile -t users-service:latest .
FROM node:24-slim
WORKDIR /app
COPY pkg/users-service/package.json ./
RUN npm install --omit=dev --no-audit --no-fund
COPY pkg/users-service/*.ts ./
ENV HOST=0.0.0.0 PORT=3000 NODE_ENV=production
EXPOSE 3000
USER node
CMD ["node", "app.ts"]
