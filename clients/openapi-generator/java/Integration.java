import java.math.BigDecimal;
import java.util.List;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.AuthenticationApi;
import org.openapitools.client.api.BalancesApi;
import org.openapitools.client.api.CustomersApi;
import org.openapitools.client.api.TransactionsApi;
import org.openapitools.client.api.VirtualCardsApi;
import org.openapitools.client.model.*;

/** The integration example through the client that openapi-generator makes for Java, with decimals. */
public final class Integration {
    private record Step(BigDecimal amount, BigDecimal balance) {
        Step(String amount, String balance) {
            this(new BigDecimal(amount), new BigDecimal(balance));
        }
    }

    private static final List<Step> STEPS = List.of(
            new Step("1234567.89", "1234567.89"),
            new Step("0.07", "1234567.96"),
            new Step("3000000000", "3001234567.96"),
            new Step("12345678901234.56", "12348680135802.52"),
            // No double holds this balance.
            new Step("77723312411607.39", "90071992547409.91"));

    public static void main(String[] arguments) throws Exception {
        String email = System.getenv("EMAIL");
        ApiClient client = new ApiClient();
        client.updateBaseUri(System.getenv("API"));
        String token = new AuthenticationApi(client)
                .login(new LoginRequest().email("admin@company.com").password("secure_password")).getToken();
        client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token));

        CustomersApi customers = new CustomersApi(client);
        VirtualCardsApi cards = new VirtualCardsApi(client);
        BalancesApi balances = new BalancesApi(client);

        CreateCustomerRequest person = new CreateCustomerRequest().name("Juan Perez").email(email);
        Customer customer = customers.createCustomer(person, email + "-customer");
        String card = cards.createCard(new CreateCardRequest().currency(Currency.USD), null).getCardId();
        cards.assignCard(new AssignCardRequest().cardId(card).customerId(customer.getCustomerId()), null);
        cards.changeCardStatus(
                new ChangeCardStatusRequest().cardId(card).status(ChangeCardStatusRequest.StatusEnum.ACTIVE), null);

        for (Step step : STEPS) {
            Added added = balances.addBalance(new AddBalanceRequest().cardId(card).amount(step.amount()), null);
            expect(added.getBalance().compareTo(step.balance()) == 0, added + " instead of " + step);
        }
        List<Movement> movements = new TransactionsApi(client)
                .listMovements(card, MovementKind.TOP_UP, "2025-02-10", null, null, null).getMovements();
        expect(movements.size() == STEPS.size(), movements.size() + " movements");
        for (int index = 0; index < STEPS.size(); index++) {
            Step step = STEPS.get(index);
            Movement movement = movements.get(STEPS.size() - 1 - index); // newest first
            expect(movement.getAmount().compareTo(step.amount()) == 0, movement + " instead of " + step);
            expect(movement.getBalanceAfter().compareTo(step.balance()) == 0, movement + " instead of " + step);
            expect(movement.getDate().getYear() >= 2025, "no date: " + movement);
        }

        // Failures are told apart by `code`.
        ApiException taken = failure(() -> customers.createCustomer(person, null));
        expect(taken.getCode() == 409, "expected a 409, got " + taken.getCode());
        CreateCustomerConflictProblem problem =
                client.getObjectMapper().readValue(taken.getResponseBody(), CreateCustomerConflictProblem.class);
        expect(problem.getCode() == CreateCustomerConflictProblem.CodeEnum.DUPLICATE_EMAIL, taken.getResponseBody());
        // An id in another form names nothing. The client has to send it to learn that.
        expect(failure(() -> cards.getCard("card_001")).getCode() == 404, "card_001 is not a 404");
        System.out.println("Card ready for use!");
    }

    private interface Call {
        void run() throws ApiException;
    }

    private static ApiException failure(Call call) {
        try {
            call.run();
        } catch (ApiException exception) {
            return exception;
        }
        throw new AssertionError("the call succeeded");
    }

    private static void expect(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
