// The integration example through the client that openapi-generator makes for Go, with sums that 32 bits would round.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"integration/coreapi"
)

// Step is a top-up, and the balance after it.
type Step struct {
	amount  Sum
	balance string
}

func main() {
	if err := run(os.Getenv("API"), os.Getenv("EMAIL")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, email string) error {
	configuration := coreapi.NewConfiguration()
	configuration.Servers = coreapi.ServerConfigurations{{URL: address}}
	api := coreapi.NewAPIClient(configuration)

	login, _, err := api.AuthenticationAPI.Login(context.Background()).LoginRequest(*coreapi.NewLoginRequest("admin@company.com", "secure_password")).Execute()
	if err != nil {
		return err
	}
	ctx := context.WithValue(context.Background(), coreapi.ContextAccessToken, login.Token)

	person := *coreapi.NewCreateCustomerRequest("Juan Perez", email)
	customer, _, err := api.CustomersAPI.CreateCustomer(ctx).CreateCustomerRequest(person).IdempotencyKey(email + "-customer").Execute()
	if err != nil {
		return err
	}
	card, _, err := api.VirtualCardsAPI.CreateCard(ctx).CreateCardRequest(*coreapi.NewCreateCardRequest(coreapi.USD)).Execute()
	if err != nil {
		return err
	}
	link := *coreapi.NewAssignCardRequest(card.CardId, customer.CustomerId)
	if _, _, err := api.VirtualCardsAPI.AssignCard(ctx).AssignCardRequest(link).Execute(); err != nil {
		return err
	}
	active := *coreapi.NewChangeCardStatusRequest(card.CardId, "active")
	if _, _, err := api.VirtualCardsAPI.ChangeCardStatus(ctx).ChangeCardStatusRequest(active).Execute(); err != nil {
		return err
	}

	for _, step := range steps {
		added, _, err := api.BalancesAPI.AddBalance(ctx).AddBalanceRequest(*coreapi.NewAddBalanceRequest(card.CardId, step.amount)).Execute()
		if err != nil {
			return err
		}
		if text(added.Balance) != step.balance {
			return fmt.Errorf("the balance is %v instead of %v", text(added.Balance), step.balance)
		}
	}
	movements, _, err := api.TransactionsAPI.ListMovements(ctx, card.CardId).Type_(coreapi.TOP_UP).Execute()
	if err != nil {
		return err
	}
	if len(movements.Movements) != len(steps) {
		return fmt.Errorf("%d movements instead of %d", len(movements.Movements), len(steps))
	}
	for index, step := range steps {
		// Newest first.
		movement := movements.Movements[len(steps)-1-index]
		if movement.Amount != step.amount || text(movement.BalanceAfter) != step.balance || movement.Date.IsZero() {
			return fmt.Errorf("%v is not a movement of %v to %v", movement, step.amount, step.balance)
		}
	}

	// Failures are told apart by `code`.
	_, response, err := api.CustomersAPI.CreateCustomer(ctx).CreateCustomerRequest(person).Execute()
	var failure *coreapi.GenericOpenAPIError
	if !errors.As(err, &failure) || response.StatusCode != 409 {
		return fmt.Errorf("expected a 409, got %v", err)
	}
	problem, ok := failure.Model().(coreapi.CreateCustomerConflictProblem)
	if !ok || problem.Code != "duplicate_email" || problem.Status != 409 || problem.Detail == "" {
		return fmt.Errorf("expected duplicate_email, got %s", failure.Body())
	}
	// An id in another form names nothing. The client has to send it to learn that.
	if _, response, err := api.VirtualCardsAPI.GetCard(ctx, "card_001").Execute(); err == nil || response == nil || response.StatusCode != 404 {
		return fmt.Errorf("expected a 404, got %v", err)
	}
	fmt.Println("Card ready for use!")
	return nil
}
