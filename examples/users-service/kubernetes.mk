# The tutorial's targets in a cluster: make RUNTIME=kubernetes TARGET. The cluster is that of kubectl's current context.
# Where Offshoot is installed, and further arguments of helm, e.g. HELM_ARGS='--set branches.pool=true'.
NAMESPACE ?= offshoot
HELM_ARGS ?=
# kind: kind load docker-image users-service:latest; minikube: eval $(minikube docker-env) before "make build".
BUILD ?= docker build -f docker/users-service.Dockerfile -t users-service:latest .
PORT ?= 3000
BRANCH ?= main

# The command line of the controller's pod: nothing to install, and no port to open.
POD := kubectl exec --namespace $(NAMESPACE) deployment/offshoot-controller --container controller
OFFSHOOT := $(POD) --stdin -- offshoot

# The baseline's namespace is there before the rights on it.
setup:
	kubectl apply -f k8s/namespace.yaml
	helm upgrade --install offshoot ../../charts/offshoot --namespace $(NAMESPACE) --create-namespace \
	  --set-json 'baselineNamespaces=["demo"]' --set branches.nodes=1 $(HELM_ARGS) --wait --timeout 5m
	$(OFFSHOOT) project create users

db-setup:
	$(OFFSHOOT) branch wait main
	$(OFFSHOOT) sql main -f - < db/schema.sql
	$(OFFSHOOT) sql main -f - < db/seed.sql

# A session on a branch: make RUNTIME=kubernetes db-connect BRANCH=sb-xata-test
db-connect:
	$(POD) --stdin --tty -- offshoot sql $(BRANCH)

build:
	$(BUILD)

# The connection string goes through a pipe, never onto a command line.
deploy:
	kubectl apply -f k8s/namespace.yaml
	@set -e; url=$$($(OFFSHOOT) branch url main); printf %s "$$url" | \
	kubectl create secret generic db-creds --namespace demo --from-file=url=/dev/stdin --dry-run=client -o yaml | \
	kubectl apply -f -
	kubectl apply -f k8s/
	kubectl rollout status --namespace demo deployment/users-service --timeout=3m

# Asks the baseline.
test:
	@set -e; kubectl port-forward --namespace demo service/users-service $(PORT):3000 >/dev/null & forward=$$!; \
	trap 'kill $$forward' EXIT; url=http://localhost:$(PORT); \
	for try in 1 2 3 4 5 6 7 8 9 10; do curl -fsS "$$url/health" >/dev/null 2>&1 && break; sleep 1; done; \
	for path in health users info; do \
	  echo "GET $$url/$$path"; curl -fsS "$$url/$$path"; echo; \
	done

# What the plugin's pods have of their own: here, which project they work with. Access they get from Offshoot.
plugin-secret:
	kubectl create secret generic xata-credentials --namespace $(NAMESPACE) --from-literal=OFFSHOOT_PROJECT=users \
	  --dry-run=client -o yaml | kubectl apply -f -
	$(OFFSHOOT) resourceplugin apply -f - < $(PLUGIN)

sandbox-create:
	$(OFFSHOOT) sandbox apply -f - --set cluster=local < signadot/users-sandbox.yaml

sandbox-delete:
	$(OFFSHOOT) sandbox delete $(SANDBOX)

# Sandbox, plugin, deployments and secrets. Offshoot and the database stay.
clean:
	$(OFFSHOOT) sandbox delete $(SANDBOX) --if-exists
	-$(OFFSHOOT) resourceplugin delete xata-branch
	kubectl delete secret xata-credentials --namespace $(NAMESPACE) --ignore-not-found
	kubectl delete -f k8s/deployment.yaml -f k8s/service.yaml --ignore-not-found
	kubectl delete secret db-creds --namespace demo --ignore-not-found
