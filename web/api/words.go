package api

import (
	"fmt"
	"net/http"

	"golang.org/x/text/language"
)

// tongue is a language that messages are written in.
type tongue int

const (
	english tongue = iota
	chinese        // Traditional
)

func (t tongue) String() string { return [...]string{"en", "zh-Hant"}[t] }

// sentence is one message in each language, with the verbs of package fmt for
// what is filled in.
type sentence [2]string

func (s sentence) in(t tongue, args []any) string {
	if len(args) == 0 {
		return s[t]
	}
	filled := make([]any, len(args))
	for i, a := range args {
		if part, ok := a.(sentence); ok {
			a = part[t]
		}
		filled[i] = a
	}
	return fmt.Sprintf(s[t], filled...)
}

var tongues = language.NewMatcher([]language.Tag{language.English, language.TraditionalChinese})

// longestLanguages is how much of Accept-Language is looked at, in bytes. The
// longest that browsers send names some dozen languages.
const longestLanguages = 256

// speaks returns the language in which r's sender reads best.
func speaks(r *http.Request) tongue {
	line := r.Header.Get("Accept-Language")
	if line == "" || len(line) > longestLanguages {
		return english
	}
	tags, _, err := language.ParseAcceptLanguage(line)
	if err != nil {
		return english
	}
	if _, i, confidence := tongues.Match(tags...); confidence != language.No {
		return tongue(i)
	}
	return english
}

// What fields of a request may be wrong in. The first %s is the field.
var (
	sayMissing     = sentence{"The field %s is missing.", "缺少欄位 %s。"}
	sayType        = sentence{"The field %s must be %s.", "欄位 %s 必須是%s。"}
	sayLength      = sentence{"The field %s must have %d to %d characters.", "欄位 %s 的長度必須為 %d 到 %d 個字元。"}
	sayText        = sentence{"The field %s has characters that it may not have.", "欄位 %s 含有不允許的字元。"}
	sayRange       = sentence{"The field %s must be from %v to %v.", "欄位 %s 必須介於 %v 和 %v 之間。"}
	sayZeroOrRange = sentence{"The field %s must be 0, or from %v to %v.", "欄位 %s 必須是 0,或介於 %v 和 %v 之間。"}
	sayOneOf       = sentence{"The field %s must be one of: %s.", "欄位 %s 必須是下列其中之一:%s。"}
	sayTenantForm  = sentence{"The field %s must have 1 to 50 lower-case letters, digits and dashes.", "欄位 %s 必須是 1 到 50 個小寫英文字母、數字或連字號。"}
	sayAfter       = sentence{"The field %s must be later than %s.", "欄位 %s 必須晚於 %s。"}
	sayAtMost      = sentence{"The field %s must not be above %s.", "欄位 %s 不可大於 %s。"}
	sayWithin      = sentence{"The field %s must be within %s of %s.", "欄位 %s 與 %[3]s 的間隔不可超過 %[2]s。"}
	sayUnknown     = sentence{"The field %s is not known.", "未知的欄位 %s。"}
	sayFixed       = sentence{"The field %s cannot be changed.", "欄位 %s 不可變更。"}
	sayTwice       = sentence{"The parameter %s stands more than once.", "參數 %s 重複出現。"}
	sayAssigned    = sentence{"The field %s is chosen by the gateway for tokens with a tenant_id.", "對於帶有 tenant_id 的權杖,欄位 %s 由閘道指定。"}
	sayWithinYear  = sentence{"The field %s must be a time to come, within 366 days.", "欄位 %s 必須是未來 366 天內的時間。"}
	sayEither      = sentence{"The field %s stands beside %s: send one of them.", "欄位 %s 與 %s 只能擇一。"}
	sayPassID      = sentence{"The field %s is not the id of a pass: 26 capital letters and digits.", "欄位 %s 不是通行憑證的編號:應為 26 個大寫字母與數字。"}
	sayForeign     = sentence{"The field %s is no token of this line.", "欄位 %s 不是此隊伍的權杖。"}
	sayVersions    = sentence{"The field %s is not the version of If-Match.", "欄位 %s 與 If-Match 的版本不同。"}

	anInteger = sentence{"a whole number", "整數"}
	aNumber   = sentence{"a number", "數字"}
	aText     = sentence{"a text", "文字"}
	anObject  = sentence{"an object", "物件"}
	aFlag     = sentence{"true or false", "true 或 false"}
	aTime     = sentence{"a time, RFC 3339 with offset", "含時區的 RFC 3339 時間"}
)

// The rest of what callers are told.
var (
	sayNotJSON      = sentence{"The body is not one JSON object in UTF-8.", "請求內容不是單一的 UTF-8 JSON 物件。"}
	sayNoBody       = sentence{"The body is empty. Send a JSON object.", "請求內容是空的,請傳送 JSON 物件。"}
	sayMediaType    = sentence{"Send the body with Content-Type: application/json.", "請以 Content-Type: application/json 傳送內容。"}
	sayTooLarge     = sentence{"The body is larger than %d bytes.", "請求內容超過 %d 位元組。"}
	sayQuery        = sentence{"The query cannot be read.", "無法讀取查詢參數。"}
	sayNothing      = sentence{"There is nothing here.", "這裡沒有任何內容。"}
	sayMethods      = sentence{"Allowed here: %s.", "此處僅允許:%s。"}
	sayNoActivity   = sentence{"There is no such activity.", "沒有這個活動。"}
	sayNoOrigin     = sentence{"This origin is not in api.cors_origins.", "此來源不在 api.cors_origins 之中。"}
	sayNoToken      = sentence{"A token is needed: Authorization: Bearer …", "需要權杖:Authorization: Bearer …"}
	sayBadToken     = sentence{"The token is not valid here, or has expired.", "權杖在此無效或已過期。"}
	sayNoSubject    = sentence{"The token does not say on one line whose it is (sub).", "權杖未以單行文字註明使用者(sub)。"}
	sayOtherUser    = sentence{"The user_hash is not the one that the token is for.", "user_hash 與權杖的使用者不符。"}
	sayOtherTenant  = sentence{"The token is for another tenant.", "此權杖屬於其他租戶。"}
	saySequence     = sentence{"The seq is not the one of this session_id.", "seq 與此 session_id 不符。"}
	sayAgain        = sentence{"This user has a place in the line already.", "此使用者已在隊伍中。"}
	sayLimited      = sentence{"Too many entries from this network. Try again in %d s.", "此網路的加入次數過多,請於 %d 秒後再試。"}
	sayWork         = sentence{"Do the work first: find a number that solves the challenge, and send both as work.", "請先完成計算：找出能解開 challenge 的數字，並以 work 一併送出。"}
	sayBefore       = sentence{"The activity has not started.", "活動尚未開始。"}
	saySoldOut      = sentence{"Everything is sold. If some become available again, entering again finds the same place.", "已全部售完。若有釋出，再次加入即可找回原來的位置。"}
	sayOver         = sentence{"The activity is over.", "活動已結束。"}
	sayClosed       = sentence{"The activity takes no visitors now.", "活動目前不開放加入。"}
	sayFull         = sentence{"The line is full.", "隊伍已滿。"}
	sayStoreAway    = sentence{"The line cannot be asked right now. Places are kept.", "目前無法查詢隊伍,您的位置會保留。"}
	sayDatabaseAway = sentence{"The database cannot be asked right now.", "目前無法查詢資料庫。"}
	sayNoDatabase   = sentence{"No database is configured: set database.url or database.host in the YAML file.", "尚未設定資料庫:請在 YAML 檔中設定 database.url 或 database.host。"}
	sayInternal     = sentence{"Something went wrong here. The log has it under this request id.", "系統發生錯誤,日誌中以此請求編號記錄。"}
	sayNoKey        = sentence{"The admin API has no key to verify tokens by: set admin.jwt.secret or admin.jwt.jwks_file in the YAML file.", "管理 API 尚未設定驗證權杖的金鑰:請在 YAML 檔中設定 admin.jwt.secret 或 admin.jwt.jwks_file。"}
	sayNoRole       = sentence{"The token has no role of: viewer, operator, admin.", "權杖的角色不是 viewer、operator 或 admin。"}
	sayRole         = sentence{"This needs the role %s.", "此操作需要 %s 角色。"}
	sayNoTenants    = sentence{"A token with a tenant_id may not do this.", "帶有 tenant_id 的權杖不可執行此操作。"}
	sayOfFile       = sentence{"This activity was made in the YAML file; change it there.", "此活動定義於 YAML 檔,請在該檔中變更。"}
	sayChanged      = sentence{"The activity was changed meanwhile. Read it again.", "活動已被更改,請重新讀取。"}
	sayTaken        = sentence{"Another activity has this id, or this sku of the tenant.", "另一個活動已使用此編號,或此租戶的 sku。"}
	sayNoDraw       = sentence{"This activity has no draw.", "此活動沒有抽籤。"}
	sayNoSource     = sentence{"The draw names no source of a public value, so it waits for none.", "此抽籤未指定公開數值的來源,不需要輸入。"}
	sayTooEarly     = sentence{"The draw is not closed yet: the value can be entered some seconds after the start.", "抽籤尚未截止,活動開始數秒後才能輸入此數值。"}
	sayOtherBeacon  = sentence{"Another value was entered before, and stays.", "先前已輸入另一個數值,不可更改。"}
	sayNoReload     = sentence{"The configuration was not loaded; the old one stays in force.", "設定未載入,沿用原有設定。"}
)
