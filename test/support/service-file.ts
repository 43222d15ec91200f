/** A service file as the supervisor of agent services has it, with its names of keys. */
export const SNAKE_CASE_SERVICE = `# services/my-service.yaml
id: my-service
name: My AI Service
type: ai-agent
executable: python /path/to/my_service.py
health_endpoint: http://localhost:8001/health
api_endpoint: http://localhost:8001
auto_start: true
restart_policy:
  max_retries: 3
  backoff_seconds: 30
resources:
  max_memory: 512MB
  max_cpu: 25%
environment:
  SERVICE_PORT: "8001"
  LOG_LEVEL: "INFO"
`
